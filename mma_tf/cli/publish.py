"""The command `bin/publish`: from a finished run to a model with a card."""

import pathlib
import sys
from collections.abc import Sequence

from absl import flags

from mma_tf import zoo
from mma_tf.cli.help_page import help_page
from mma_tf.cli.parsing import parse, run_command
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
_WEIGHTS = (
    "keep the model itself; --noweights keeps its card alone, which tells how to train "
    "it (default: true)"
)


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
        flags.DEFINE_string(name, None, about, flag_values=values)
    flags.DEFINE_boolean("weights", True, _WEIGHTS, flag_values=values)
    flags.DEFINE_boolean("help", False, "show this", flag_values=values)
    parse(arguments, values)
    if values.help:
        print(help_page(_USAGE, {"Flags": [*_TEXTS.items(), ("weights", _WEIGHTS)]}))
        return 0
    if not values.run_dir or not pathlib.Path(values.run_dir).is_dir():
        raise UserError(
            "Invalid `--run_dir`: expected the folder of a finished run. Received: "
            f"--run_dir={values.run_dir or ''}"
        )
    run = pathlib.Path(values.run_dir)
    name = values.name or run.resolve().name
    is_folder = pathlib.PurePath(name).name == name and not name.startswith(".")
    if not is_folder or name in ("best", "last", zoo.SAVED_MODEL):
        raise UserError(
            "Invalid `--name`: expected a name for a folder, without a slash, and not "
            f"one that a run's parts have. Received: --name={name}"
        )
    import_tensorflow()
    from mma_tf.published.publish import publish

    folder = pathlib.Path(values.models_dir or zoo.FOLDER) / name
    publish(RunDirectory(run), folder, keeps_weights=values.weights)
    print(f"Published: {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
