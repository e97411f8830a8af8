"""How the commands read their flags and report mistakes."""

import difflib
import os.path
import sys
from collections.abc import Callable, Sequence
from typing import Any

from absl import flags

from mma_tf.errors import RunError, UserError
from mma_tf.recipes.quantities import parse_number

EXIT_RUN_ERROR = 1
EXIT_USER_ERROR = 2
# EX_TEMPFAIL of sysexits.h: not done; the same command again goes on.
EXIT_STOPPED = 75
# What shells report of Ctrl-C.
EXIT_INTERRUPTED = 130


class NumberParser(flags.ArgumentParser):
    """Reads a number or a fraction such as 8/255."""

    syntactic_help = "a number, or a fraction such as 8/255"

    def parse(self, argument: Any) -> float:
        return parse_number(str(argument))

    def flag_type(self) -> str:
        return "number"


class PathParser(flags.ArgumentParser):
    """Reads a path, `~` being the user's home, which shells leave after a `=`."""

    syntactic_help = "a path"

    def parse(self, argument: Any) -> str:
        return os.path.expanduser(str(argument))

    def flag_type(self) -> str:
        return "path"


class ListParser(flags.ArgumentParser):
    """Reads a list with commas.

    Args:
        parse_item: Reads one item of it.
    """

    def __init__(self, parse_item: Callable[[str], Any]) -> None:
        super().__init__()
        self._parse_item = parse_item

    def parse(self, argument: Any) -> tuple[Any, ...]:
        if isinstance(argument, tuple):
            return argument
        items = [item for item in str(argument).split(",") if item.strip()]
        return tuple(self._parse_item(item) for item in items)

    def flag_type(self) -> str:
        return "numbers with commas"


def parse(arguments: Sequence[str], flag_values: flags.FlagValues) -> None:
    """Reads a command line, without the program's name, into `flag_values`.

    Raises:
        UserError: For what is not a flag, or not a value for it.
    """
    try:
        rest = flag_values(["", *arguments])[1:]
    except flags.UnrecognizedFlagError as error:
        raise UserError(_unknown(error.flagname, flag_values)) from error
    except (flags.Error, UserError, ValueError) as error:
        # ValueError is what absl raises of a value for a --no... flag.
        text = " ".join(str(error).split()).removeprefix("ERROR:: ")
        raise UserError(f"Invalid flag: {text}") from error
    if rest:
        raise UserError(
            f"Invalid argument {rest[0]!r}: expected flags such as --dataset=mnist "
            "alone; --help lists them."
        )


def run_command(name: str, command: Callable[[], int]) -> int:
    """Runs a command and turns what users can mend into a sentence and an exit code."""
    try:
        return command()
    except UserError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return EXIT_USER_ERROR
    except RunError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return EXIT_RUN_ERROR
    except OSError as error:
        # A full disk is met wherever something is written; what was whole stays whole.
        where = f" at {error.filename}" if error.filename else ""
        print(
            f"{name}: {error.strerror or error}{where}; what was saved before is "
            "intact, and the same command goes on from there.",
            file=sys.stderr,
        )
        return EXIT_RUN_ERROR
    except KeyboardInterrupt:
        print(f"{name}: interrupted.", file=sys.stderr)
        return EXIT_INTERRUPTED


def _unknown(name: str, flag_values: flags.FlagValues) -> str:
    known = [*flag_values, "flagfile"]
    near = difflib.get_close_matches(name.removeprefix("no"), known, n=2)
    near = near or difflib.get_close_matches(name, known, n=2)
    hint = f"did you mean {' or '.join(f'--{n}' for n in near)}?" if near else ""
    return (
        f"Invalid flag --{name}: there is no such flag; {hint or '--help lists them.'}"
    )
