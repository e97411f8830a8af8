"""The command `bin/results`: tables and pictures from the records of evaluations."""

import pathlib
import sys
from collections.abc import Sequence

from absl import flags

from mma_tf.cli.help_page import help_page
from mma_tf.cli.parsing import PathParser, parse, run_command
from mma_tf.cli.quiet import import_tensorflow
from mma_tf.errors import RunError, UserError

_CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
_USAGE = """\
Bring the README's tables, the pictures and the models' cards up to date.

  bin/evaluate --model=NAME ... --record=results     # writes a record
  bin/results                                        # shows it everywhere
  bin/results --check                                # says whether all is up to date

No figure is typed by hand: plan.json beside the records tells which models and which
published figures are shown where.
"""
_FOLDERS: dict[str, tuple[pathlib.Path, str]] = {
    "results_dir": (_CHECKOUT / "results", "folder of the records"),
    "models_dir": (_CHECKOUT / "models", "folder of the models and their cards"),
    "readme": (_CHECKOUT / "README.md", "file with the tables"),
}
_CHECK = "write nothing; exit with code 1 if anything is out of date"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code.

    Args:
        arguments: The command line without the program's name; by default `sys.argv`.
    """
    return run_command(
        "results", lambda: _main(sys.argv[1:] if arguments is None else arguments)
    )


def _main(arguments: Sequence[str]) -> int:
    values = flags.FlagValues()
    for name, (path, about) in _FOLDERS.items():
        flags.DEFINE(PathParser(), name, str(path), about, flag_values=values)
    flags.DEFINE_boolean("check", False, _CHECK, flag_values=values)
    flags.DEFINE_boolean("help", False, "show this", flag_values=values)
    parse(arguments, values)
    if values.help:
        texts = [
            (name, f"{about} (default: {path.name} of the checkout)")
            for name, (path, about) in _FOLDERS.items()
        ]
        print(help_page(_USAGE, {"Flags": [*texts, ("check", _CHECK)]}))
        return 0
    for name in _FOLDERS:
        path = pathlib.Path(getattr(values, name))
        if not path.exists():
            raise UserError(
                f"Invalid `--{name}`: expected an existing path. Received: "
                f"--{name}={path}"
            )
    import_tensorflow()
    from mma_tf.published.render import left_out, render

    results, models = pathlib.Path(values.results_dir), pathlib.Path(values.models_dir)
    changed = render(
        results=results,
        models=models,
        readme=pathlib.Path(values.readme),
        is_check=values.check,
    )
    if values.check and changed:
        raise RunError(
            f"Out of date: {', '.join(map(str, changed))}; run bin/results to mend it."
        )
    for path in changed:
        print(f"{'Brought up to date' if path.exists() else 'Removed'}: {path}")
    if not changed:
        print("All is up to date.")
    missing, nowhere = left_out(results, models)
    if missing:
        print(f"Named in plan.json, with nothing to show: {', '.join(missing)}")
    if nowhere:
        print(f"Shown nowhere, as plan.json does not name them: {', '.join(nowhere)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
