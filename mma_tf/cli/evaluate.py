"""The command `bin/evaluate`: how robust classifiers are, and a report of it."""

import hashlib
import json
import pathlib
import shlex
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from absl import flags

from mma_tf.cli import evaluate_flags
from mma_tf.cli.evaluate_task import Task, context_of, load_task, plan_of
from mma_tf.cli.interruption import Interruption
from mma_tf.cli.parsing import parse, run_command
from mma_tf.cli.quiet import import_tensorflow
from mma_tf.errors import RunError, UserError

# TensorFlow, which these load, takes seconds that --help and mistakes need not pay.
if TYPE_CHECKING:
    from mma_tf.evaluation.progress import Progress
    from mma_tf.evaluation.results import Evaluation
    from mma_tf.evaluation_folder import EvaluationFolder
    from mma_tf.load import LoadedClassifier

# On MNIST in linf the paper's PGD takes shorter steps than elsewhere, in units of eps:
# Ding et al., ICLR 2020.
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

    from mma_tf.evaluation.tables import text_table
    from mma_tf.evaluation_folder import EvaluationFolder
    from mma_tf.versions import changed_versions, describe_versions

    task = load_task(values)
    plan = plan_of(values, task)
    if values.record:
        hashes = {path: task.models[path].sha256 for path in task.names}
        _check_record(values.record, task.names, hashes)
    folder = EvaluationFolder(_out(values, plan))
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
            f"{len(values.model)} model(s) on {len(task.examples)} of "
            f"{len(task.data.test)} {values.dataset} {values.test_split} images; state "
            f"and report in {folder.path}",
            flush=True,
        )
        evaluations = _judge(values, task, folder, interruption)
        context = context_of(values, task, versions, plan["examples_sha256"])
        with folder.writing():
            _write(values, task, evaluations, folder.path, context, arguments)
    print(text_table(evaluations))
    print(f"The report: {folder.path / 'report.md'}")
    doubts = sorted({w.name for e in evaluations for w in e.warnings})
    if values.fail_on_warning and doubts:
        raise RunError(
            f"--fail_on_warning: {len(doubts)} sanity check(s) give reason for doubt "
            f"(failed: {'; '.join(doubts)}); see {folder.path / 'report.md'}."
        )


def _judge(
    values: flags.FlagValues,
    task: Task,
    folder: "EvaluationFolder",
    interruption: Interruption,
) -> list["Evaluation"]:
    from mma_tf.cli.evaluate_progress import ProgressLines
    from mma_tf.evaluation.judging import evaluate
    from mma_tf.evaluation.suites import has_paper_pgd

    is_mnist_linf = values.dataset == "mnist" and values.norm == "linf"
    has_pgd = has_paper_pgd(values.suite, values.transfer_from)
    progress = ProgressLines(sys.stdout)

    def on_progress(now: "Progress") -> None:
        interruption.check()
        progress.show(now)

    evaluations = []
    for at, path in enumerate(values.model):
        model = task.models[path]
        print(_order(values, model), flush=True)
        evaluations.append(
            evaluate(
                model.logits_fn,
                task.examples.unit_range_source(),
                task.examples.labels,
                norm=values.norm,
                eps=list(task.radii),
                suite=values.suite,
                model=path,
                seed=values.seed,
                batch_size=min(values.batch_size, len(task.examples)),
                transfer_from={
                    name: task.models[name].logits_fn for name in values.transfer_from
                },
                has_gradient=model.has_gradient,
                pgd_step=_PGD_STEP_MNIST_LINF if is_mnist_linf and has_pgd else None,
                save_to=folder.state_of(at),
                num_shards=values.num_shards,
                on_progress=on_progress,
            )
        )
    return evaluations


def _write(
    values: flags.FlagValues,
    task: Task,
    evaluations: Sequence["Evaluation"],
    folder: pathlib.Path,
    context: Mapping[str, Any],
    arguments: Sequence[str],
) -> None:
    """Writes the report and, where one is wanted, a record of each model."""
    from mma_tf.published.records import write_records
    from mma_tf.report import write_report

    def with_command(words: Sequence[str]) -> dict[str, Any]:
        return {**context, "command": shlex.join(["bin/evaluate", *words])}

    write_report(evaluations, folder, context=with_command(arguments))
    if values.record:
        write_records(
            evaluations,
            pathlib.Path(values.record),
            context=with_command(evaluate_flags.without_places(arguments)),
            names=task.names,
        )


def _order(values: flags.FlagValues, model: "LoadedClassifier") -> str:
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
    note = "" if model.has_gradient else " (which gives no gradients)"
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


def _out(values: flags.FlagValues, plan: dict[str, Any]) -> pathlib.Path:
    if values.out:
        return pathlib.Path(values.out)
    short = hashlib.sha256(json.dumps(plan).encode()).hexdigest()[:8]
    name = f"{values.dataset}-{values.norm}-{values.suite}-{short}"
    return pathlib.Path("evaluations") / name


if __name__ == "__main__":
    sys.exit(main())
