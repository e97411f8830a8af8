"""The flags of `bin/train`, one for each number of a recipe."""

from typing import Any

from absl import flags

from mma_tf.cli.help_page import help_page
from mma_tf.cli.parsing import ListParser, NumberParser, PathParser
from mma_tf.recipes.named import NAMED
from mma_tf.recipes.quantities import (
    format_value,
    parse_number,
    parse_whole_number,
)
from mma_tf.recipes.schema import FieldInfo, field_default, field_infos, flag_name

_DEFAULTS = {"dataset": "digits", "norm": "linf", "method": "mma"}
_RUN = "Run"

# No part of the recipe, since they do not change the result: default, description.
_RUN_FLAGS: dict[str, tuple[Any, FieldInfo]] = {
    "run_dir": (
        None,
        FieldInfo(
            "folder of the run; with the same flags again, the run there goes on "
            "(default: runs/<dataset>-<norm>-<method>[-<length>][-fast]-s<seed>)",
            "path",
        ),
    ),
    "data_dir": (
        None,
        FieldInfo(
            "folder of prepared datasets (default: that of tensorflow-datasets)", "path"
        ),
    ),
    "source_dir": (
        None,
        FieldInfo(
            "folder with the dataset's files as downloaded, for use without a network; "
            "for image_folder: your pictures, train/<class>/*.png and "
            "test/<class>/*.png",
            "path",
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
it. The defaults below are those of --recipe=paper; flags.txt in a run's folder has the
numbers of its recipe. --flagfile=FILE reads flags from a file. The same command again
goes on where it stopped.
"""


class WholeNumberParser(flags.ArgumentParser):
    """Reads a whole number."""

    syntactic_help = "a whole number"

    def parse(self, argument: Any) -> int:
        return parse_whole_number(str(argument))

    def flag_type(self) -> str:
        return "whole number"


def define(flag_values: flags.FlagValues) -> None:
    """Defines all flags of `bin/train` in `flag_values`."""
    for name, info in field_infos().items():
        default = _DEFAULTS.get(name)
        _define_one(flag_name(name), info, default, flag_values)
    for name, (default, info) in _RUN_FLAGS.items():
        _define_one(name, info, default, flag_values)
    flags.DEFINE_boolean("help", False, "show this", flag_values=flag_values)


def overrides(flag_values: flags.FlagValues) -> dict[str, Any]:
    """Returns the recipe's fields that the user set, without the three selectors."""
    names = (name for name in field_infos() if name not in _DEFAULTS)
    values = {name: flag_values[flag_name(name)].value for name in names}
    return {name: value for name, value in values.items() if value is not None}


def help_text() -> str:
    """Returns what `--help` prints."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for name, info in field_infos().items():
        choices = f" [{'|'.join(info.choices)}]" if info.choices else ""
        text = f"{info.help}{choices} (default: {_describe_default(name)})"
        groups.setdefault(info.group, []).append((flag_name(name), text))
    groups[_RUN] += [(name, info.help) for name, (_, info) in _RUN_FLAGS.items()]
    return help_page(USAGE, groups)


def _define_one(
    name: str, info: FieldInfo, default: Any, flag_values: flags.FlagValues
) -> None:
    if info.kind == "choice":
        flags.DEFINE_enum(
            name, default, info.choices, info.help, flag_values=flag_values
        )
    elif info.kind == "bool":
        flags.DEFINE_boolean(name, default, info.help, flag_values=flag_values)
    elif info.kind == "text":
        flags.DEFINE_string(name, default, info.help, flag_values=flag_values)
    else:
        parsers: dict[str, flags.ArgumentParser] = {
            "path": PathParser(),
            "number": NumberParser(),
            "numbers": ListParser(parse_number),
            "int": WholeNumberParser(),
            "ints": ListParser(parse_whole_number),
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
        return _say(field_default(name))
    shown: dict[str, list[str]] = {}
    for dataset in dict.fromkeys(dataset for dataset, _ in values):
        pair = [values[dataset, norm] for norm in ("linf", "l2")]
        pair = [field_default(name) if value is None else value for value in pair]
        text = _say(pair[0])
        if pair[0] != pair[1]:
            text = f"{_say(pair[0])} (linf), {_say(pair[1])} (l2)"
        shown.setdefault(text, []).append(dataset)
    if len(shown) == 1:
        return next(iter(shown))
    return "; ".join(f"{' and '.join(names)} {text}" for text, names in shown.items())


def _say(value: Any) -> str:
    return format_value(value) or "none"
