"""The flags of `bin/evaluate`, and what can be said of them without TensorFlow."""

from collections.abc import Sequence

from absl import flags

from mma_tf.cli.help_page import help_page
from mma_tf.cli.parsing import ListParser, PathParser
from mma_tf.errors import UserError
from mma_tf.recipes.quantities import parse_number
from mma_tf.recipes.validate import LARGEST_SEED

SUITES = {
    "autoattack": "APGD-CE, APGD-T, FAB-T and Square, as published (standard version)",
    "paper": "PGD of 100 steps, 5 random starts with CE and 5 with CW loss",
    "black_box": "Square and SPSA: no gradients",
    "transfer": "the paper's PGD on the models of --transfer_from",
    "margins": "each image's nearest error, by FAB, FMN, DDN (l2) and AN-PGD; no --eps",
    "quick": "APGD-CE and APGD-T with 20 steps, for a first look",
}

USAGE = f"""\
Judge how robust classifiers are, and write a report.

  bin/evaluate --model=runs/digits-linf-mma-0.3-s0 --dataset=digits --eps=0.1,0.2
  bin/evaluate --model=A --model=B --dataset=cifar10 --eps=8/255 --out=report
  bin/evaluate --model=A --dataset=mnist --suite=margins
  bin/evaluate --model=mnist-linf-mma-0.45 --dataset=mnist --eps=0.3 --suite=paper

An example counts as robust only if every attack of the suite fails on it. What is found
are upper bounds of robustness. The same command goes on where a killed one stopped.

Suites:
{chr(10).join(f"  {name:<11} {text}" for name, text in SUITES.items())}
"""

_TEXTS: dict[str, tuple[str | None, str]] = {
    "dataset": ("digits", "as for bin/train (default: digits)"),
    "test_split": ("test", "split of the dataset (default: test)"),
    "data_dir": (None, "as for bin/train"),
    "source_dir": (None, "as for bin/train"),
    "out": (None, "folder of the report (default: one in evaluations/)"),
    "record": (
        None,
        "folder into which a JSON file of the figures is put besides, one a model, for "
        "bin/results",
    ),
    "signature": (None, "of the SavedModel, where it has several"),
}
_NUMBERS: dict[str, tuple[int, int, str]] = {
    "num_examples": (0, 0, "first so many images of the split (default: 0, all)"),
    "seed": (0, 0, "of all random numbers (default: 0)"),
    "batch_size": (250, 1, "images attacked at a time (default: 250)"),
    "num_shards": (
        1,
        1,
        "parts of the images; the same command started several times with one --out, "
        "on as many cores, GPUs or machines, divides them (default: 1)",
    ),
}
# They say where things are on one machine, and change no figure.
_PLACES = frozenset({"data_dir", "source_dir", "out", "record"})
_FLAGS: dict[str, str] = {
    "model": "SavedModel folder, .keras file, run directory (its best model) or name "
    "of a model in models/; may be given several times",
    "norm": "norm of the attacks [linf|l2] (default: linf)",
    "eps": "radius, or several with commas, in pixel units; 8/255 is read as such",
    "suite": f"attacks [{'|'.join(SUITES)}] (default: autoattack)",
    "transfer_from": "models, with commas, whose adversarial images are tried first",
    "input_range": "range of pixels that the models want (default: 0,1)",
    "fail_on_warning": "exit with code 1 if a sanity check gives reason for doubt",
    "deterministic": "the same figures each time (default: true); a model with random "
    "operations of its own needs --nodeterministic",
    **{name: text for name, (_, text) in _TEXTS.items()},
    **{name: text for name, (_, _, text) in _NUMBERS.items()},
}


def define(values: flags.FlagValues) -> None:
    """Defines the flags."""
    flags.DEFINE_multi(
        PathParser(),
        flags.ArgumentSerializer(),
        "model",
        [],
        _FLAGS["model"],
        flag_values=values,
    )
    flags.DEFINE_enum(
        "norm", "linf", ("linf", "l2"), _FLAGS["norm"], flag_values=values
    )
    flags.DEFINE_enum(
        "suite", "autoattack", list(SUITES), _FLAGS["suite"], flag_values=values
    )
    # Radii are kept as they were written, for the report.
    for name, parse_item in (("eps", str.strip), ("transfer_from", _path)):
        flags.DEFINE(ListParser(parse_item), name, (), _FLAGS[name], flag_values=values)
    flags.DEFINE(
        ListParser(parse_number),
        "input_range",
        (0.0, 1.0),
        _FLAGS["input_range"],
        flag_values=values,
    )
    for name, (text, about) in _TEXTS.items():
        if name in _PLACES:
            flags.DEFINE(PathParser(), name, text, about, flag_values=values)
        else:
            flags.DEFINE_string(name, text, about, flag_values=values)
    for name, (number, lowest, about) in _NUMBERS.items():
        flags.DEFINE_integer(
            name,
            number,
            about,
            lower_bound=lowest,
            upper_bound=LARGEST_SEED if name == "seed" else None,
            flag_values=values,
        )
    for name, default in (
        ("fail_on_warning", False),
        ("deterministic", True),
        ("help", False),
    ):
        about = _FLAGS.get(name, "show this")
        flags.DEFINE_boolean(name, default, about, flag_values=values)


def _path(text: str) -> str:
    return PathParser().parse(text.strip())


def help_text() -> str:
    """Returns what `--help` prints."""
    return help_page(USAGE, {"Flags": list(_FLAGS.items())})


def without_places(arguments: Sequence[str]) -> list[str]:
    """Returns a command line that `define` reads, without the flags of places."""
    kept = []
    words = iter(arguments)
    for word in words:
        name, equals, _ = word.lstrip("-").partition("=")
        if not word.startswith("-") or name not in _PLACES:
            kept.append(word)
        elif not equals:
            next(words, None)
    return kept


def radii(values: flags.FlagValues) -> dict[float, str]:
    """Returns the radii of `--eps` in ascending order, each with its own text.

    Raises:
        UserError: If they do not fit the norm or the suite.
    """
    if values.suite == "margins":
        if values.eps:
            raise UserError(
                "Invalid `--eps`: suite margins searches all lengths; leave --eps out. "
                f"Received: --eps={','.join(values.eps)}"
            )
        return {}
    try:
        found = {parse_number(text): text for text in values.eps}
    except UserError as error:
        raise UserError(f"Invalid `--eps`: {error}") from error
    highest = 1.0 if values.norm == "linf" else float("inf")
    if not found or not all(0 < eps <= highest for eps in found):
        raise UserError(
            "Invalid `--eps`: expected one or more lengths > 0, at most 1 for linf, "
            "since images are in [0, 1]. Received: "
            f"--eps={','.join(values.eps)} (did you mean 8/255?)"
        )
    return dict(sorted(found.items()))


def check(values: flags.FlagValues) -> None:
    """Raises UserError for what cannot be right, whatever the models and the data."""
    if not values.model:
        raise UserError(
            "Invalid `--model`: expected a SavedModel folder, a .keras file, a run "
            "directory or the name of a model in models/. Received: nothing"
        )
    for name, models in (
        ("model", values.model),
        ("transfer_from", values.transfer_from),
    ):
        twice = {model for model in models if list(models).count(model) > 1}
        if twice:
            raise UserError(
                f"Invalid `--{name}`: expected each model once. Received: "
                f"{', '.join(sorted(twice))} twice"
            )
    if values.suite == "transfer" and not values.transfer_from:
        raise UserError(
            "Invalid `--transfer_from`: suite transfer needs one or more models, with "
            "commas, that adversarial images come from. Received: nothing"
        )
    for model in values.model:
        if values.suite == "transfer" and list(values.transfer_from) == [model]:
            raise UserError(
                "Invalid `--transfer_from`: expected another model than the one that "
                f"suite transfer judges. Received: --transfer_from={model} with "
                f"--model={model} (suite paper is this attack on the model itself)"
            )
    if values.suite == "margins" and values.transfer_from:
        raise UserError(
            "Invalid `--transfer_from`: suite margins tries no images of other models; "
            f"leave it out. Received: --transfer_from={','.join(values.transfer_from)}"
        )
    span = values.input_range
    if len(span) != 2 or not span[0] < span[1]:
        shown = ",".join(f"{number:g}" for number in span)
        raise UserError(
            "Invalid `--input_range`: expected two numbers, the lower one first, such "
            f"as 0,255. Received: --input_range={shown}"
        )
    radii(values)
