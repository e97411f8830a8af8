"""The command `bin/evaluate`: how robust classifiers are, and a report of it."""

import hashlib
import json
import pathlib
import shlex
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags

from mma_tf.cli import evaluate_flags
from mma_tf.cli.interruption import Interruption
from mma_tf.cli.parsing import parse, run_command
from mma_tf.cli.quiet import import_tensorflow
from mma_tf.errors import RunError, UserError

# Lengths of PGD's steps in suite "paper", in units of eps: Ding et al., ICLR 2020.
_PGD_STEP = 1 / 4
_PGD_STEP_MNIST_LINF = 1 / 40


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code.

    Args:
        arguments: The command line without the program's name; by default `sys.argv`.
    """
    return run_command(
        "evaluate", lambda: _main(sys.argv[1:] if arguments is None else arguments)
    )


def _main(arguments: Sequence[str]) -> int:
    values = flags.FlagValues()
    evaluate_flags.define(values)
    parse(arguments, values)
    if values.help:
        print(evaluate_flags.help_text())
        return 0
    evaluate_flags.check(values)
    _evaluate(values, arguments)
    return 0


def _evaluate(values: flags.FlagValues, arguments: Sequence[str]) -> None:
    import_tensorflow()
    import tensorflow as tf

    from mma_tf.cli.evaluate_progress import ProgressLines
    from mma_tf.data.sources import load
    from mma_tf.evaluation.judging import evaluate
    from mma_tf.evaluation.progress import Progress
    from mma_tf.evaluation.tables import text_table
    from mma_tf.evaluation_folder import EvaluationFolder
    from mma_tf.load import find_model, load_classifier, model_name
    from mma_tf.report import write_report
    from mma_tf.versions import changed_versions, describe_versions
    from mma_tf.zoo import short_path

    paths = [*values.model, *values.transfer_from]
    for path in paths:
        find_model(path)
    # Else GPUs multiply float32 with 10 bits, and a model near a tie answers otherwise
    # in another batch.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    if values.deterministic:
        tf.config.experimental.enable_op_determinism()
        tf.random.set_seed(values.seed)
    data = load(
        values.dataset,
        data_dir=values.data_dir,
        source_dir=values.source_dir,
        test_split=values.test_split,
    )
    total = len(data.test)
    number = min(values.num_examples, total) if values.num_examples else total
    examples = data.test.take(0, number)
    models = {
        path: load_classifier(
            path,
            examples.take(0, 2).images_in_unit_range(),
            num_classes=data.num_classes,
            signature=values.signature,
            input_range=values.input_range,
        )
        for path in paths
    }
    if values.num_shards > number:
        raise UserError(
            f"Invalid `--num_shards`: expected at most {number}, one an image. "
            f"Received: --num_shards={values.num_shards}"
        )
    radii = evaluate_flags.radii(values)
    plan = {
        "models": {path: models[path].sha256 for path in values.model},
        "transfer_from": {path: models[path].sha256 for path in values.transfer_from},
        "dataset": values.dataset,
        "split": values.test_split,
        "num_examples": number,
        "examples_sha256": _digest(examples),
        "norm": values.norm,
        "eps": list(radii),
        "suite": values.suite,
        "seed": values.seed,
        "batch_size": values.batch_size,
        "input_range": list(values.input_range),
        "signature": values.signature,
        "num_shards": values.num_shards,
    }
    names = {path: model_name(models[path].path) for path in values.model}
    if values.record:
        hashes = {path: models[path].sha256 for path in names}
        _check_record(values.record, names, hashes)
    folder = EvaluationFolder(_out(values, plan))
    is_mnist_linf = values.dataset == "mnist" and values.norm == "linf"
    evaluations = []
    progress = ProgressLines(sys.stdout)

    def on_progress(now: Progress) -> None:
        interruption.check()
        progress.show(now)

    is_shared = values.num_shards > 1
    with folder.open(plan, is_shared=is_shared), Interruption() as interruption:
        now = describe_versions()
        versions = folder.first_versions(now)
        # A repeated command makes no attack again: its figures are the old ones.
        if changes := changed_versions(versions, now):
            print(
                f"This evaluation was begun with other versions ({changes}), which are "
                "reported."
            )
        print(
            f"{len(values.model)} model(s) on {number} of {total} {values.dataset} "
            f"{values.test_split} images; state and report in {folder.path}",
            flush=True,
        )
        for at, path in enumerate(values.model):
            print(_order(values, models[path]), flush=True)
            evaluations.append(
                evaluate(
                    models[path].logits_fn,
                    examples.unit_range_source(),
                    examples.labels,
                    norm=values.norm,
                    eps=list(radii),
                    suite=values.suite,
                    model=path,
                    seed=values.seed,
                    batch_size=min(values.batch_size, number),
                    transfer_from={
                        name: models[name].logits_fn for name in values.transfer_from
                    },
                    has_gradient=models[path].has_gradient,
                    pgd_step=_PGD_STEP_MNIST_LINF if is_mnist_linf else _PGD_STEP,
                    save_to=folder.state_of(at),
                    num_shards=values.num_shards,
                    on_progress=on_progress,
                )
            )
        context: dict[str, Any] = {
            "models": {
                path: {
                    "path": short_path(model.path),
                    "kind": model.kind,
                    "sha256": model.sha256,
                    "signature": model.signature,
                    "input_range": list(values.input_range),
                    "has_gradient": model.has_gradient,
                }
                for path, model in models.items()
            },
            "data": {
                "dataset": values.dataset,
                "split": values.test_split,
                "num_examples": number,
                "of": total,
                "examples_sha256": plan["examples_sha256"],
            },
            "transfer_from": list(values.transfer_from),
            "command": shlex.join(["bin/evaluate", *arguments]),
            "versions": versions,
            "eps_text": radii,
            "class_names": list(data.class_names),
        }
        with folder.reporting():
            write_report(evaluations, folder.path, context=context)
            if values.record:
                from mma_tf.published.records import write_records

                placeless = evaluate_flags.without_places(arguments)
                write_records(
                    evaluations,
                    pathlib.Path(values.record),
                    context={
                        **context,
                        "command": shlex.join(["bin/evaluate", *placeless]),
                    },
                    names=names,
                )
    print(text_table(evaluations))
    print(f"The report: {folder.path / 'report.md'}")
    doubts = sorted({w.name for e in evaluations for w in e.warnings})
    if values.fail_on_warning and doubts:
        raise RunError(
            f"--fail_on_warning: {len(doubts)} sanity check(s) give reason for doubt "
            f"(failed: {'; '.join(doubts)}); see {folder.path / 'report.md'}."
        )


def _order(values: flags.FlagValues, model: Any) -> str:
    """Returns the attacks on a model in the order in which they are made."""
    from mma_tf.evaluation.suites import make_stages

    stages = make_stages(
        values.suite,
        norm=values.norm,
        num_classes=model.num_classes,
        has_gradient=model.has_gradient,
        sources=values.transfer_from,
    )
    names = ", ".join(stage.name for stage in stages)
    note = "" if model.has_gradient else " (no gradients: black-box attacks alone)"
    return f"Attacks on {model.name}{note}: {names}"


def _check_record(
    folder: str, names: Mapping[str, str], hashes: Mapping[str, str]
) -> None:
    """Raises UserError before hours of attacks where there is no place for a record.

    Args:
        folder: Of the records.
        names: Of the models for the records, by path.
        hashes: Of the models, by path.
    """
    from mma_tf.published.records import clean_name, read_records
    from mma_tf.zoo import card_names, read_card

    cleaned = {clean_name(name) for name in names.values()}
    if len(cleaned) < len(names) or "" in cleaned:
        raise UserError(
            "Invalid `--record`: expected models of different names in letters from a "
            f"to z, which their records have. Received: {', '.join(names.values())} "
            "(rename them, or evaluate them one by one, into two folders)"
        )
    try:
        pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
        # Not every folder that is there takes a file.
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise UserError(
            f"Invalid `--record`: expected a folder that can be written. Received: "
            f"--record={folder} ({error.strerror or error})"
        ) from error
    known = [(name, read_card(name)["sha256"]) for name in card_names()]
    recorded = read_records(pathlib.Path(folder))
    known += [(record.model, record.about["sha256"]) for record in recorded]
    for path, name in names.items():
        if any(
            clean_name(other) == clean_name(name) and sha256 != hashes[path]
            for other, sha256 in known
        ):
            raise UserError(
                f"Invalid `--record`: the name {name} is another model's, in models/ "
                f"or {folder}. Received: --model={path} (rename its folder, remove "
                "those records, or give another folder)"
            )


def _digest(examples: Any) -> str:
    digest = hashlib.sha256(examples.images.tobytes())
    digest.update(examples.labels.tobytes())
    return digest.hexdigest()


def _out(values: flags.FlagValues, plan: dict[str, Any]) -> pathlib.Path:
    if values.out:
        return pathlib.Path(values.out)
    short = hashlib.sha256(json.dumps(plan).encode()).hexdigest()[:8]
    name = f"{values.dataset}-{values.norm}-{values.suite}-{short}"
    return pathlib.Path("evaluations") / name


if __name__ == "__main__":
    sys.exit(main())
