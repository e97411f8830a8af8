"""From a finished run to a model that comes with the checkout."""

import dataclasses
import json
import pathlib
from typing import Any

from mma_tf.best_model import validation_judgement
from mma_tf.errors import UserError
from mma_tf.export import ARCHITECTURE, DESCRIPTION, export_compactly
from mma_tf.files import recover_directory, replace_directory, sha256_of
from mma_tf.recipes.resolve import to_command
from mma_tf.recipes.schema import Recipe
from mma_tf.run_directory import RunDirectory
from mma_tf.trained_models import load_model
from mma_tf.zoo import SAVED_MODEL, read_card, write_card

# Of a line of validations.jsonl, what a card keeps.
_VALIDATION = (
    "step",
    "train_hours",
    "train_cpu_hours",
    "val_accuracy",
    "val_robust_accuracy",
    "val_average_margin",
)


def publish(
    run: RunDirectory, folder: pathlib.Path, *, keeps_weights: bool
) -> dict[str, Any]:
    """Writes `folder`/card.json and, beside it, the run's best model.

    Args:
        run: Finished.
        folder: Named as the model; it is made, or replaced.
        keeps_weights: Whether the model itself is kept, or its card alone.

    Returns:
        The card. Its figures are empty: `bin/results` puts them there.

    Raises:
        UserError: If the run is not finished, or damaged.
        RunError: If the model cannot be written.
        OSError: If the card cannot be written; what was there is intact.
    """
    summary = run.read_summary()
    if summary is None:
        raise UserError(
            f"Invalid `--run_dir`: expected a finished run. Received: {run.path} (the "
            "command that began it goes on with it)"
        )
    try:
        card = _card(run, summary, folder.name, keeps_weights)
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise UserError(
            f"Invalid `--run_dir`: expected a whole run of this version. Received: "
            f"{run.path} ({type(error).__name__}: {error})"
        ) from error
    recover_directory(folder)
    if keeps_weights:
        export_compactly(load_model(run.path), folder, card)
        return read_card(folder.name, folder.parent)
    with replace_directory(folder) as partial:
        write_card(partial.name, card, folder.parent)
    return card


def _card(
    run: RunDirectory, summary: dict[str, Any], name: str, keeps_weights: bool
) -> dict[str, Any]:
    about = json.loads((run.best / DESCRIPTION).read_text("utf-8"))
    recipe = _recipe(summary["recipe"])
    time = json.loads(run.time.read_text("utf-8")) if run.time.exists() else {}
    return {
        "name": name,
        "command": to_command(recipe),
        "seed": recipe.seed,
        **{name: about[name] for name in ("input", "output", "class_names")},
        **({ARCHITECTURE: about[ARCHITECTURE]} if ARCHITECTURE in about else {}),
        "weights": "kernels of 16 bits, all else in float32; computes in float32"
        if keeps_weights
        else "not kept",
        "training": {
            "best_step": about["step"],
            "steps": recipe.train_steps,
            "examples": recipe.train_steps * recipe.batch_size,
            "hours": _hours(time.get("seconds")),
            "cpu_hours": _hours(time.get("cpu_seconds")),
            "starts": time.get("starts"),
        },
        # Of the training's beginning; its end may have seen others.
        "versions": json.loads(run.versions.read_text("utf-8"))
        if run.versions.exists()
        else summary["versions"],
        "recipe": dataclasses.asdict(recipe),
        "validation_attack": validation_judgement(
            recipe, tuple(about["input"]["shape"])
        ).describe(),
        "validations": [
            {name: line[name] for name in _VALIDATION if name in line}
            for line in run.read_validations()
        ],
        "figures": [],
        # Of the model that figures are measured on: the run's, if none is kept.
        "sha256": sha256_of(run.best / SAVED_MODEL),
    }


def _recipe(numbers: dict[str, Any]) -> Recipe:
    # JSON has no tuples.
    fixed: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in numbers.items()
    }
    return Recipe(**fixed)


def _hours(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds / 3600, 3)
