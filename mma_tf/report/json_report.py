"""The figures of a report for programs: `results.json` and `per_example.npz`."""

import dataclasses
import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mma_tf.errors import UserError, reason_of
from mma_tf.evaluation.results import SCHEMA_VERSION, Evaluation, StageResult
from mma_tf.evaluation.statistics import wilson_interval
from mma_tf.evaluation.tables import CAVEAT, eps_text
from mma_tf.versions import describe_versions

_ARRAYS = ("labels", "predictions", "correct", "robust", "fooled_by", "sizes")


def eps_names(
    evaluations: Sequence[Evaluation], context: Mapping[str, Any]
) -> dict[float, str]:
    """Returns each radius' text: the one that the user wrote, where it is known.

    Args:
        evaluations: Of the same radii.
        context: See `mma_tf.report.write_report`.
    """
    known = context.get("eps_text") or {}
    return {eps: str(known.get(eps, eps_text(eps))) for eps in evaluations[0].eps}


def versions_of(context: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the versions that the context names; those of this process if none."""
    return dict(context.get("versions") or describe_versions())


def make_results(
    evaluations: Sequence[Evaluation], context: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns the contents of `results.json`, of plain JSON values.

    Accuracies are shares in [0, 1]; what is infinite or no number is None.

    Args:
        evaluations: Of the same norm, suite, radii and examples.
        context: See `mma_tf.report.write_report`.
    """
    first = evaluations[0]
    names = eps_names(evaluations, context)
    return _plain(
        {
            "schema_version": SCHEMA_VERSION,
            "note": CAVEAT,
            "suite": first.suite,
            "norm": first.norm,
            "eps": [{"value": eps, "text": names[eps]} for eps in first.eps],
            "data": dict(context.get("data") or {})
            | {"num_examples": first.num_examples},
            "class_names": list(context.get("class_names") or ()),
            "command": context.get("command"),
            "versions": versions_of(context),
            "models": [
                _model(evaluation, names, context.get("models") or {})
                for evaluation in evaluations
            ],
            # Models that adversarial images came from, and that are not judged.
            "sources": {
                name: about
                for name, about in (context.get("models") or {}).items()
                if name not in {evaluation.model for evaluation in evaluations}
            },
        }
    )


def results_text(results: Mapping[str, Any]) -> str:
    """Returns `results.json` as text; raises ValueError if it were not plain JSON."""
    return json.dumps(results, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def read_results(path: pathlib.Path) -> dict[str, Any]:
    """Returns what `results.json` holds.

    Args:
        path: The file, or the folder of a report.

    Raises:
        UserError: If it is not there, or was not written by this version of the format.
    """
    if path.is_dir():
        path = path / "results.json"
    try:
        results = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UserError(
            f"Invalid results: {path} cannot be read ({error.strerror or error}); give "
            "the folder of a report."
        ) from error
    except ValueError as error:
        raise UserError(
            f"Invalid results: {path} is not JSON ({reason_of(error)}); evaluate again."
        ) from error
    version = results.get("schema_version") if isinstance(results, dict) else None
    if version != SCHEMA_VERSION:
        raise UserError(
            f"Invalid results: {path} has schema version {version!r}, and this program "
            f"reads {SCHEMA_VERSION}; evaluate again."
        )
    return results


def per_example_arrays(evaluations: Sequence[Evaluation]) -> dict[str, np.ndarray]:
    """Returns the arrays of `per_example.npz`.

    `models` holds the models' names; `model_0/robust` and so on what was found of the
    first of them. `fooled_by` is an index in its list of attacks in `results.json`.
    """
    arrays = {
        "models": np.array([evaluation.model for evaluation in evaluations], np.str_),
        "eps": np.array(evaluations[0].eps, np.float64),
    }
    for number, evaluation in enumerate(evaluations):
        for name in _ARRAYS:
            arrays[f"model_{number}/{name}"] = np.asarray(getattr(evaluation, name))
    return arrays


def _model(
    evaluation: Evaluation, names: Mapping[float, str], models: Mapping[str, Any]
) -> dict[str, Any]:
    about = models.get(evaluation.model) or {}
    stages = evaluation.stages
    return {
        "name": evaluation.model,
        # Named even where they are not known: a reader need not ask.
        **dict.fromkeys(("path", "kind", "sha256", "signature", "input_range")),
        **about,
        "has_gradient": evaluation.has_gradient,
        "seed": evaluation.seed,
        "batch_size": evaluation.batch_size,
        "num_shards": evaluation.num_shards,
        "clean": _accuracy(evaluation.correct),
        "robust": [
            {"eps": eps, "eps_text": names[eps], **_accuracy(row)}
            for eps, row in zip(evaluation.eps, evaluation.robust, strict=True)
        ],
        "average_accuracy": evaluation.average_accuracy(),
        "average_robust_accuracy": evaluation.average_robust_accuracy(),
        "margins": evaluation.margin_statistics(),
        "margin_histogram": evaluation.margin_histogram(),
        "attacks": [_attack(stage, names, evaluation.num_examples) for stage in stages],
        "total": {
            "seconds": evaluation.seconds,
            "forward_passes": sum(stage.forward_passes for stage in stages),
            "backward_passes": sum(stage.backward_passes for stage in stages),
        },
        "sanity_checks": [dataclasses.asdict(check) for check in evaluation.checks],
    }


def _accuracy(right: np.ndarray) -> dict[str, Any]:
    count, total = int(np.sum(right)), len(right)
    return _counted(count, total) | {"num_right": count}


def _counted(count: int, total: int) -> dict[str, Any]:
    return {
        "accuracy": count / total,
        "interval_95": list(wilson_interval(count, total)),
    }


def _attack(
    stage: StageResult, names: Mapping[float, str], num_examples: int
) -> dict[str, Any]:
    return {
        "name": stage.name,
        "parameters": stage.attack,
        "num_passes": stage.num_passes,
        "targeted": stage.targeted,
        "source": stage.source,
        "seed": stage.seed,
        "eps": stage.eps,
        "eps_text": None if stage.eps is None else names.get(stage.eps),
        "num_attacked": stage.num_attacked,
        "num_fooled": stage.num_fooled,
        **_counted(round(stage.accuracy * num_examples), num_examples),
        "forward_passes": stage.forward_passes,
        "backward_passes": stage.backward_passes,
        "seconds": stage.seconds,
    }


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    return str(value)
