"""The command `bin/figures`: pictures that explain the method."""

import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

from absl import flags

from mma_tf.cli.help_page import help_page
from mma_tf.cli.parsing import NumberParser, PathParser, parse, run_command
from mma_tf.cli.quiet import import_tensorflow
from mma_tf.errors import RunError, UserError
from mma_tf.files import write_bytes_atomically
from mma_tf.recipes.validate import LARGEST_SEED
from mma_tf.run_directory import RunDirectory

_DATA = ("dataset", "data_dir", "source_dir")
FIGURES = {
    "margin": "decision regions of two networks of two inputs, with their margins",
    "one_dimension": "what a step on the loss at different points does to a margin",
    "landscape": "the loss on a plane through a test image, for each --model",
    "margins_during_training": "margins over training for each --run_dir, and a GIF",
    "adversarial_grid": "images and their nearest errors, for each --model",
}
_USAGE = f"""\
Draw a picture that explains the method, as PNG and as PDF.

  bin/figures --figure=margin --out=pictures
  bin/figures --figure=landscape --model=A --model=B --dataset=mnist --out=pictures
  bin/figures --figure=margins_during_training --run_dir=A --run_dir=B --out=pictures

Figures:
{chr(10).join(f"  {name:<24} {text}" for name, text in FIGURES.items())}
"""
# Which flags a picture takes; any other that is given is a mistake.
_TAKES = {
    "margin": ("seed",),
    "one_dimension": ("seed",),
    "landscape": ("model", "norm", "reach", "image", "seed", *_DATA),
    "margins_during_training": ("run_dir",),
    "adversarial_grid": ("model", "norm", "num_images", "seed", *_DATA),
}
_LISTS = {
    "model": "as for bin/evaluate; for landscape and adversarial_grid, may be given "
    "several times",
    "run_dir": "folder of a run, for margins_during_training, may be given several "
    "times",
}
_TEXTS: dict[str, tuple[str | None, str]] = {
    "out": ("figures", "folder for the files (default: figures)"),
    "dataset": ("digits", "as for bin/train (default: digits)"),
    "data_dir": (None, "as for bin/train"),
    "source_dir": (None, "as for bin/train"),
}
_NUMBERS: dict[str, tuple[int, int, str]] = {
    "image": (0, 0, "landscape: number of the test image (default: 0)"),
    "num_images": (5, 1, "adversarial_grid: how many images, 1 to 8 (default: 5)"),
    "seed": (0, 0, "of all random numbers (default: 0)"),
}
_NORM = "landscape and adversarial_grid: of distances [linf|l2] (default: linf)"
_REACH = "landscape: how far it goes to each side, in pixel units (default: 0.4)"
_MOST = {"num_images": 8, "seed": LARGEST_SEED}
# Enough to find images that all models classify right.
_NUM_EXAMPLES = 100
_LONGEST_REACH = 1000.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code.

    Args:
        arguments: The command line without the program's name; by default `sys.argv`.
    """
    return run_command(
        "figures", lambda: _main(sys.argv[1:] if arguments is None else arguments)
    )


def _main(arguments: Sequence[str]) -> int:
    values = flags.FlagValues()
    _define(values)
    parse(arguments, values)
    if values.help:
        texts = {
            "figure": f"which one [{'|'.join(FIGURES)}]",
            **_LISTS,
            "norm": _NORM,
            "reach": _REACH,
            **{name: text for name, (_, text) in _TEXTS.items()},
            **{name: text for name, (_, _, text) in _NUMBERS.items()},
        }
        print(help_page(_USAGE, {"Flags": list(texts.items())}))
        return 0
    _check(values)
    import_tensorflow()
    draw: dict[str, Callable[[flags.FlagValues], dict[str, bytes]]] = {
        "margin": _margin,
        "one_dimension": _one_dimension,
        "landscape": _landscape,
        "margins_during_training": _margins_during_training,
        "adversarial_grid": _adversarial_grid,
    }
    files = draw[values.figure](values)
    out = pathlib.Path(values.out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"--out={out} cannot be made ({error.strerror or error}); give another."
        ) from error
    for ending, content in files.items():
        path = out / f"{values.figure}.{ending}"
        write_bytes_atomically(path, content)
        print(path)
    return 0


def _define(values: flags.FlagValues) -> None:
    flags.DEFINE_enum("figure", None, list(FIGURES), "", flag_values=values)
    flags.DEFINE_enum("norm", "linf", ("linf", "l2"), _NORM, flag_values=values)
    for name, text in _LISTS.items():
        flags.DEFINE_multi(
            PathParser(), flags.ArgumentSerializer(), name, [], text, flag_values=values
        )
    for name, (default, text) in _TEXTS.items():
        if name == "dataset":
            flags.DEFINE_string(name, default, text, flag_values=values)
        else:
            flags.DEFINE(PathParser(), name, default, text, flag_values=values)
    for name, (number, lowest, text) in _NUMBERS.items():
        flags.DEFINE_integer(
            name,
            number,
            text,
            lower_bound=lowest,
            upper_bound=_MOST.get(name),
            flag_values=values,
        )
    flags.DEFINE(NumberParser(), "reach", 0.4, _REACH, flag_values=values)
    flags.DEFINE_boolean("help", False, "show this", flag_values=values)


def _check(values: flags.FlagValues) -> None:
    if values.figure is None:
        raise UserError(
            f"Invalid `--figure`: expected one of {', '.join(FIGURES)}. Received: "
            "nothing"
        )
    takes = (*_TAKES[values.figure], "figure", "out", "help", "flagfile")
    for name in values:
        if values[name].present and name not in takes:
            raise UserError(
                f"Invalid `--{name}`: --figure={values.figure} takes "
                f"{', '.join(f'--{n}' for n in _TAKES[values.figure])} alone; leave it "
                "out."
            )
    for name in _LISTS:
        if name in takes and not getattr(values, name):
            raise UserError(
                f"Invalid `--{name}`: --figure={values.figure} needs one or more. "
                "Received: nothing"
            )
    for name in _LISTS:
        given = list(getattr(values, name))
        if len(set(given)) < len(given):
            raise UserError(
                f"Invalid `--{name}`: expected each once. Received: "
                f"--{name}={max(given, key=given.count)} twice"
            )
    if not 0 < values.reach <= _LONGEST_REACH:
        raise UserError(
            f"Invalid `--reach`: expected a length > 0, up to {_LONGEST_REACH:g}. "
            f"Received: --reach={values.reach:g}"
        )
    for run_dir in values.run_dir:
        if not pathlib.Path(run_dir).is_dir():
            raise UserError(
                "Invalid `--run_dir`: expected the folder of a run. Received: "
                f"--run_dir={run_dir}"
            )


def _files(figure: Any) -> dict[str, bytes]:
    from mma_tf.report.drawing import pdf_bytes, png_bytes

    return {"png": png_bytes(figure), "pdf": pdf_bytes(figure)}


def _margin(values: flags.FlagValues) -> dict[str, bytes]:
    from mma_tf.figures import margin_figure

    return _files(margin_figure(seed=values.seed))


def _one_dimension(values: flags.FlagValues) -> dict[str, bytes]:
    from mma_tf.figures import one_dimension_figure

    return _files(one_dimension_figure(seed=values.seed))


def _landscape(values: flags.FlagValues) -> dict[str, bytes]:
    from mma_tf.figures import landscape_figure

    data, models = _data_and_models(values)
    if values.image >= len(data.test):
        raise UserError(
            f"Invalid `--image`: expected a number below {len(data.test)}, the test "
            f"images there are. Received: --image={values.image}"
        )
    example = data.test.take(values.image, values.image + 1)
    return _files(
        landscape_figure(
            models,
            example.images_in_unit_range()[0],
            int(example.labels[0]),
            norm=values.norm,
            reach=values.reach,
            seed=values.seed,
        )
    )


def _margins_during_training(values: flags.FlagValues) -> dict[str, bytes]:
    from mma_tf.figures import margins_animation, margins_during_training_figure

    paths = [pathlib.Path(path) for path in values.run_dir]
    names = _names(values.run_dir, [path.resolve().name for path in paths])
    runs = {
        name: RunDirectory(path).read_validations()
        for name, path in zip(names, paths, strict=True)
    }
    figure = margins_during_training_figure(runs)
    return {**_files(figure), "gif": margins_animation(runs)}


def _adversarial_grid(values: flags.FlagValues) -> dict[str, bytes]:
    from mma_tf.figures import adversarial_grid_figure

    data, models = _data_and_models(values)
    examples = data.test.take(0, min(_NUM_EXAMPLES, len(data.test)))
    return _files(
        adversarial_grid_figure(
            models,
            examples.images_in_unit_range(),
            examples.labels,
            norm=values.norm,
            num_images=values.num_images,
            class_names=data.class_names,
            seed=values.seed,
        )
    )


def _data_and_models(values: flags.FlagValues) -> tuple[Any, dict[str, Any]]:
    from mma_tf.data.sources import load
    from mma_tf.load import find_model, load_classifier, model_name

    found = {path: find_model(path) for path in values.model}
    data = load(values.dataset, data_dir=values.data_dir, source_dir=values.source_dir)
    few = data.test.take(0, 2).images_in_unit_range()
    names = _names(values.model, [model_name(path) for path in found.values()])
    models = {}
    for name, path in zip(names, found.values(), strict=True):
        loaded = load_classifier(path, few, num_classes=data.num_classes)
        if not loaded.has_gradient:
            raise UserError(
                f"Invalid `--model`: --figure={values.figure} needs gradients. "
                f"Received: {path}, which has none"
            )
        models[name] = loaded.logits_fn
    return data, models


def _names(given: Sequence[str], names: Sequence[str]) -> list[str]:
    """Returns each name; where two are the same, what was given in their place."""
    return [
        name if names.count(name) == 1 else path
        for path, name in zip(given, list(names), strict=True)
    ]


if __name__ == "__main__":
    sys.exit(main())
