"""The command `bin/publish`: from a finished run to a model with a card."""

import pathlib
import re
import sys
from collections.abc import Sequence

from absl import flags

from mma_tf import zoo
from mma_tf.cli.help_page import help_page
from mma_tf.cli.parsing import PathParser, parse, run_command
from mma_tf.cli.quiet import import_tensorflow
from mma_tf.errors import UserError
from mma_tf.run_directory import RunDirectory

_USAGE = """\
Put the best model of a finished run among the models that come with the checkout.

  bin/publish --run_dir=runs/mnist-linf-mma-0.45-s0 --name=mnist-linf-mma-0.45
  bin/evaluate --model=mnist-linf-mma-0.45 --dataset=mnist --eps=0.3 --record=results
  bin/results

models/NAME holds the SavedModel, its kernels stored in 16 bits, and card.json: the
command that trains it, what it cost, versions, recipe, and the figures that were
measured on it.
"""
_TEXTS = {
    "run_dir": "folder of a finished run; its best model is taken",
    "name": "of the model (default: that of the run's folder)",
    "models_dir": "where to (default: models of the checkout)",
}
_REPLACE = "put it in the place of the model that has this name already"
_WEIGHTS = (
    "keep the model itself; --noweights keeps its card alone, which tells how to train "
    "it (default: true)"
)
_SWITCHES = (("weights", _WEIGHTS), ("replace", f"{_REPLACE} (default: false)"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code.

    Args:
        arguments: The command line without the program's name; by default `sys.argv`.
    """
    return run_command(
        "publish", lambda: _main(sys.argv[1:] if arguments is None else arguments)
    )


def _main(arguments: Sequence[str]) -> int:
    values = flags.FlagValues()
    for name, about in _TEXTS.items():
        if name == "name":
            flags.DEFINE_string(name, None, about, flag_values=values)
        else:
            flags.DEFINE(PathParser(), name, None, about, flag_values=values)
    flags.DEFINE_boolean("weights", True, _WEIGHTS, flag_values=values)
    flags.DEFINE_boolean("replace", False, _REPLACE, flag_values=values)
    flags.DEFINE_boolean("help", False, "show this", flag_values=values)
    parse(arguments, values)
    if values.help:
        print(help_page(_USAGE, {"Flags": [*_TEXTS.items(), *_SWITCHES]}))
        return 0
    if not values.run_dir or not pathlib.Path(values.run_dir).is_dir():
        raise UserError(
            "Invalid `--run_dir`: expected the folder of a finished run. Received: "
            f"--run_dir={values.run_dir or ''}"
        )
    run = pathlib.Path(values.run_dir)
    name = values.name or run.resolve().name
    is_plain = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name)
    if not is_plain or name in ("best", "last", zoo.SAVED_MODEL):
        raise UserError(
            "Invalid `--name`: expected a name of letters from a to z, digits and .-_ "
            "that begins with one of the first two, and not one that a run's parts "
            f"have. Received: --name={name}"
        )
    folder = pathlib.Path(values.models_dir or zoo.FOLDER) / name
    _check_place(folder, run, replaces=values.replace)
    import_tensorflow()
    from mma_tf.published.publish import publish

    publish(RunDirectory(run), folder, keeps_weights=values.weights)
    print(f"Published: {folder}")
    return 0


def _check_place(folder: pathlib.Path, run: pathlib.Path, *, replaces: bool) -> None:
    """Raises UserError where a model would take the place of something else."""
    place, source = folder.resolve(), run.resolve()
    if place == source or place in source.parents:
        raise UserError(
            "Invalid `--models_dir`: expected a folder apart from the run. Received: "
            f"{folder} for the model of {run} (give another --models_dir or --name)"
        )
    if not folder.exists():
        return
    is_model = folder.is_dir() and (folder / zoo.CARD).is_file()
    if not is_model and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(
            f"Invalid `--name`: {folder} exists and is no published model; give "
            "another --name or --models_dir."
        )
    if is_model and not replaces:
        raise UserError(
            f"Invalid `--name`: a model is published in {folder} already; give another "
            "--name, or --replace to put this one in its place."
        )


if __name__ == "__main__":
    sys.exit(main())
