"""The flags of `bin/train`, one for each number of a recipe."""

import difflib
import shutil
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

from absl import flags

from mma_tf.errors import UserError
from mma_tf.recipes.named import NAMED
from mma_tf.recipes.quantities import parse_number
from mma_tf.recipes.schema import FieldInfo, field_default, field_infos, flag_name

_DEFAULTS = {"dataset": "digits", "norm": "linf", "method": "mma"}
_RUN = "Run"

# No part of the recipe, since they do not change the result: default, description.
_RUN_FLAGS: dict[str, tuple[Any, FieldInfo]] = {
    "run_dir": (
        None,
        FieldInfo(
            "folder of the run; with the same flags again, the run there goes on "
            "(default: runs/<dataset>-<norm>-<method>-<length>-s<seed>)",
            "text",
        ),
    ),
    "data_dir": (
        None,
        FieldInfo(
            "folder of prepared datasets (default: that of tensorflow-datasets)", "text"
        ),
    ),
    "source_dir": (
        None,
        FieldInfo(
            "folder with the dataset's files as downloaded, for use without a network; "
            "for image_folder: your pictures, train/<class>/*.png and "
            "test/<class>/*.png",
            "text",
        ),
    ),
    "strategy": (
        "auto",
        FieldInfo(
            "devices: auto takes all GPUs if there are several, none takes one device, "
            "mirrored takes all [auto|none|mirrored] (default: auto)",
            "choice",
            ("auto", "none", "mirrored"),
        ),
    ),
    "logical_devices": (
        0,
        FieldInfo(
            "split the CPU into so many devices, to try what several GPUs do; the "
            "batch must be a multiple (default: 0, do not)",
            "int",
        ),
    ),
}

USAGE = """\
Train an image classifier to have large margins (MMA training).

  bin/train --dataset=digits --norm=linf --dmax=0.3
  bin/train --dataset=cifar10 --norm=linf --dmax=8/255

--dataset, --norm and --dmax choose a recipe; every other flag overrides one number of
it. --flagfile=FILE reads flags from a file. The same command again goes on where it
stopped.
"""


class _NumberParser(flags.ArgumentParser):
    syntactic_help = "a number, or a fraction such as 8/255"

    def parse(self, argument: Any) -> float:
        return parse_number(str(argument))

    def flag_type(self) -> str:
        return "number"


class _ListParser(flags.ArgumentParser):
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


def define(flag_values: flags.FlagValues) -> None:
    """Defines all flags of `bin/train` in `flag_values`."""
    for name, info in field_infos().items():
        default = _DEFAULTS.get(name)
        _define_one(flag_name(name), info, default, flag_values)
    for name, (default, info) in _RUN_FLAGS.items():
        _define_one(name, info, default, flag_values)
    flags.DEFINE_boolean("help", False, "show this", flag_values=flag_values)


def parse(arguments: Sequence[str], flag_values: flags.FlagValues) -> None:
    """Reads the command line, without the program's name, into `flag_values`.

    Raises:
        UserError: For what is not a flag, or not a value for it.
    """
    try:
        rest = flag_values(["train", *arguments])[1:]
    except flags.UnrecognizedFlagError as error:
        raise UserError(_unknown(error.flagname, flag_values)) from error
    except (flags.Error, UserError) as error:
        raise UserError(f"Invalid flag: {' '.join(str(error).split())}") from error
    if rest:
        raise UserError(
            f"Invalid argument {rest[0]!r}: expected flags such as --dataset=mnist "
            "alone; --help lists them."
        )


def overrides(flag_values: flags.FlagValues) -> dict[str, Any]:
    """Returns the recipe's fields that the user set, without the three selectors."""
    names = (name for name in field_infos() if name not in _DEFAULTS)
    values = {name: flag_values[flag_name(name)].value for name in names}
    return {name: value for name, value in values.items() if value is not None}


def help_text() -> str:
    """Returns what `--help` prints."""
    width = min(shutil.get_terminal_size().columns, 100)
    groups: dict[str, list[str]] = {}
    for name, info in field_infos().items():
        default = _describe_default(name)
        choices = f" [{'|'.join(info.choices)}]" if info.choices else ""
        text = f"{info.help}{choices} (default: {default})"
        groups.setdefault(info.group, []).append(_entry(flag_name(name), text, width))
    for name, (_, info) in _RUN_FLAGS.items():
        groups[_RUN].append(_entry(name, info.help, width))
    parts = [f"{group}:\n" + "\n".join(lines) for group, lines in groups.items()]
    return "\n".join([USAGE, "\n\n".join(parts)])


def _define_one(
    name: str, info: FieldInfo, default: Any, flag_values: flags.FlagValues
) -> None:
    if info.kind == "choice":
        flags.DEFINE_enum(
            name, default, info.choices, info.help, flag_values=flag_values
        )
    elif info.kind == "bool":
        flags.DEFINE_boolean(name, default, info.help, flag_values=flag_values)
    elif info.kind == "int":
        flags.DEFINE_integer(name, default, info.help, flag_values=flag_values)
    elif info.kind == "text":
        flags.DEFINE_string(name, default, info.help, flag_values=flag_values)
    else:
        parsers: dict[str, flags.ArgumentParser] = {
            "number": _NumberParser(),
            "numbers": _ListParser(parse_number),
            "ints": _ListParser(int),
        }
        flags.DEFINE(
            parsers[info.kind], name, default, info.help, flag_values=flag_values
        )


def _describe_default(name: str) -> str:
    if name in _DEFAULTS:
        return _DEFAULTS[name]
    if name == "eps":
        return "test_eps"
    values = {key: recipe.get(name) for key, recipe in NAMED.items()}
    if not any(value is not None for value in values.values()):
        return _show(field_default(name))
    shown: dict[str, list[str]] = {}
    for dataset in dict.fromkeys(dataset for dataset, _ in values):
        pair = [values[dataset, norm] for norm in ("linf", "l2")]
        pair = [field_default(name) if value is None else value for value in pair]
        text = _show(pair[0])
        if pair[0] != pair[1]:
            text = f"{_show(pair[0])} (linf), {_show(pair[1])} (l2)"
        shown.setdefault(text, []).append(dataset)
    if len(shown) == 1:
        return next(iter(shown))
    return "; ".join(f"{' and '.join(names)} {text}" for text, names in shown.items())


def _show(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(f"{item:g}" for item in value) or "none"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _entry(name: str, text: str, width: int) -> str:
    return textwrap.fill(
        text,
        width,
        initial_indent=f"  --{name}  ",
        subsequent_indent=" " * 6,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _unknown(name: str, flag_values: flags.FlagValues) -> str:
    known = [flag_name(field) for field in field_infos()]
    known += [*_RUN_FLAGS, "flagfile", "help"]
    near = difflib.get_close_matches(name.removeprefix("no"), known, n=2)
    near = near or difflib.get_close_matches(name, known, n=2)
    hint = f"did you mean {' or '.join(f'--{n}' for n in near)}?" if near else ""
    return (
        f"Invalid flag --{name}: there is no such flag; {hint or '--help lists them.'}"
    )
