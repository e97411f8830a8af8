"""The command `bin/train`: from flags to a finished run directory."""

import pathlib
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from absl import flags

from mma_tf.cli import flags as train_flags
from mma_tf.cli.parsing import (
    EXIT_INTERRUPTED,
    EXIT_STOPPED,
    parse,
    run_command,
)
from mma_tf.cli.quiet import import_tensorflow
from mma_tf.errors import UserError
from mma_tf.recipes.resolve import (
    Resolution,
    comparison_recipe,
    default_run_name,
    is_named,
    resolve,
    to_flagfile,
)
from mma_tf.recipes.schema import Recipe
from mma_tf.run_directory import RunDirectory

if TYPE_CHECKING:
    from mma_tf.data.examples import ImageDataset
    from mma_tf.training.callbacks.stop_on_signal import StopOnSignal

# The clean network for comparison is a run of its own, in this folder of the run.
COMPARISON = "standard"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code.

    Args:
        arguments: The command line without the program's name; by default `sys.argv`.
    """
    return run_command(
        "train", lambda: _main(sys.argv[1:] if arguments is None else arguments)
    )


def _main(arguments: Sequence[str]) -> int:
    values = flags.FlagValues()
    train_flags.define(values)
    parse(arguments, values)
    if values.help:
        print(train_flags.help_text())
        return 0
    return _train(values)


def _train(values: flags.FlagValues) -> int:
    if values.logical_devices < 0:
        raise UserError(
            "Invalid `--logical_devices`: expected 0 or a number of parts. Received: "
            f"--logical_devices={values.logical_devices}"
        )
    data = None
    if is_named(values.dataset):
        # Told before anything is loaded, where the numbers alone show a mistake.
        resolution = _resolve(values, None)
    else:
        data = _load_data(values)
        resolution = _resolve(values, data)
    recipe = resolution.recipe
    name = default_run_name(recipe)
    run = RunDirectory(pathlib.Path(values.run_dir or f"runs/{name}"))
    with run.lock():
        run.open(_flagfile(recipe, values))
        if run.read_summary() is not None:
            print(f"This run is finished; its results are in {run.path}.")
            _print_results(recipe, run)
            return 0
        for note in resolution.notes:
            print(note)
        print(f"Run directory: {run.path}", flush=True)
        return _run(recipe, data or _load_data(values), run, values)


def _flagfile(recipe: Recipe, values: flags.FlagValues) -> str:
    text = to_flagfile(recipe)
    if recipe.dataset == "image_folder":
        # Here the folder is the data; of other datasets it is only one way to them.
        text += f"--source_dir={pathlib.Path(values.source_dir).resolve()}\n"
    return text


def _resolve(values: flags.FlagValues, data: "ImageDataset | None") -> Resolution:
    return resolve(
        values.dataset,
        values.norm,
        values.method,
        overrides=train_flags.overrides(values),
        image_shape=data.image_shape if data else None,
        num_train=len(data.train) if data else None,
    )


def _load_data(values: flags.FlagValues) -> "ImageDataset":
    import_tensorflow()
    from mma_tf.data.sources import load
    from mma_tf.strategy import split_cpu

    if values.logical_devices:
        # To read data puts TensorFlow in use.
        split_cpu(values.logical_devices)
    return load(
        values.dataset,
        data_dir=values.data_dir,
        source_dir=values.source_dir,
        train_split=values.train_split or "train",
        test_split=values.test_split or "test",
    )


def _run(
    recipe: Recipe, data: "ImageDataset", run: RunDirectory, values: flags.FlagValues
) -> int:
    from mma_tf import experiment
    from mma_tf.strategy import make_strategy
    from mma_tf.training.callbacks.stop_on_signal import Interrupted, StopOnSignal

    strategy = make_strategy(values.strategy, logical_devices=values.logical_devices)
    experiment.configure_process(recipe)
    try:
        with StopOnSignal() as stop_on_signal:
            if recipe.compare_steps and recipe.method != "standard":
                _train_comparison(recipe, data, run, strategy, stop_on_signal)
            print(f"Training: {_describe(recipe)}", flush=True)
            experiment.train(
                recipe, data, run, strategy=strategy, stop_on_signal=stop_on_signal
            )
    except Interrupted as stopped:
        print(
            f"Stopped by {signal.Signals(stopped.signum).name} and saved; the same "
            "command goes on.",
            file=sys.stderr,
        )
        is_ctrl_c = stopped.signum == signal.SIGINT
        return EXIT_INTERRUPTED if is_ctrl_c else EXIT_STOPPED
    _print_results(recipe, run)
    return 0


def _train_comparison(
    recipe: Recipe,
    data: "ImageDataset",
    run: RunDirectory,
    strategy: Any,
    stop_on_signal: "StopOnSignal",
) -> None:
    from mma_tf import experiment

    clean = comparison_recipe(recipe)
    clean_run = RunDirectory(run.path / COMPARISON)
    clean_run.open(to_flagfile(clean))
    if clean_run.read_summary() is not None:
        return
    print(f"For comparison: {_describe(clean)}", flush=True)
    experiment.train(
        clean, data, clean_run, strategy=strategy, stop_on_signal=stop_on_signal
    )


def _describe(recipe: Recipe) -> str:
    length = {"mma": f" to margins of {recipe.d_max:.4g}", "standard": ""}.get(
        recipe.method, f" with eps {recipe.eps:.4g}"
    )
    return (
        f"{recipe.network} on {recipe.dataset}, {recipe.method}{length} ({recipe.norm})"
        f", {recipe.train_steps} steps of {recipe.batch_size} images."
    )


def _print_results(recipe: Recipe, run: RunDirectory) -> None:
    from mma_tf.results_table import results_table

    summaries = {recipe.method: run.read_summary()}
    if recipe.compare_steps and recipe.method != "standard":
        clean = RunDirectory(run.path / COMPARISON).read_summary()
        summaries = {COMPARISON: clean, **summaries}
    print(results_table({k: v for k, v in summaries.items() if v is not None}))
    print(f"The best model of the validation: {run.best / 'saved_model'}")


if __name__ == "__main__":
    sys.exit(main())
