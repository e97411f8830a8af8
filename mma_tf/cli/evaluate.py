"""The command `bin/evaluate`: how robust an exported classifier is."""

import pathlib
import sys
from collections.abc import Sequence

from absl import flags

from mma_tf.cli.help_page import help_page
from mma_tf.cli.parsing import ListParser, parse, run_command
from mma_tf.cli.quiet import import_tensorflow
from mma_tf.errors import UserError
from mma_tf.recipes.quantities import parse_number

# Repeated white-box PGD of Ding et al., ICLR 2020: so many steps, and so many random
# starts with cross-entropy and as many with the Carlini-Wagner loss.
NUM_STEPS = 100
NUM_RESTARTS = 5
# Of the step sizes, in units of eps.
_STEP = 1 / 4
_STEP_MNIST_LINF = 1 / 40

USAGE = """\
Measure clean accuracy, accuracy under repeated PGD, and margins of a classifier.

  bin/evaluate --model=runs/digits-linf-mma-0.3-s0 --dataset=digits --eps=0.1,0.2

The attack is the paper's: 100 steps, 5 random starts with cross-entropy and 5 with the
Carlini-Wagner loss; an example is robust only if all fail. What it finds are upper
bounds of robustness: a better attack may find more errors.
"""

_FLAGS: dict[str, str] = {
    "model": "SavedModel folder, or a run directory, whose best model is meant",
    "dataset": "as for bin/train (default: digits)",
    "norm": "norm of the attacks [linf|l2] (default: linf)",
    "eps": "radius, or several with commas, in pixel units; 8/255 is read as such",
    "num_examples": "first so many images of the split (default: 0, all)",
    "test_split": "split of the dataset (default: test)",
    "seed": "of the attacks' random starts (default: 0)",
    "data_dir": "as for bin/train",
    "source_dir": "as for bin/train",
}


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
    _define(values)
    parse(arguments, values)
    if values.help:
        print(help_page(USAGE, {"Flags": list(_FLAGS.items())}))
        return 0
    if not values.model:
        raise UserError("Invalid `--model`: expected a folder. Received: nothing")
    highest = 1.0 if values.norm == "linf" else float("inf")
    if not values.eps or not all(0 < eps <= highest for eps in values.eps):
        shown = ",".join(f"{eps:g}" for eps in values.eps or ())
        raise UserError(
            "Invalid `--eps`: expected one or more lengths > 0, at most 1 for linf, "
            f"since images are in [0, 1]. Received: --eps={shown} (did you mean "
            "8/255?)"
        )
    _evaluate(values)
    return 0


def _evaluate(values: flags.FlagValues) -> None:
    import_tensorflow()
    from mma_tf.data.sources import load
    from mma_tf.evaluation.robustness import Judgement, RobustnessMeter
    from mma_tf.load import find_saved_model, load_logits_fn

    model = pathlib.Path(values.model)
    find_saved_model(model)
    data = load(
        values.dataset,
        data_dir=values.data_dir,
        source_dir=values.source_dir,
        test_split=values.test_split,
    )
    total = len(data.test)
    number = min(values.num_examples, total) if values.num_examples else total
    examples = data.test.take(0, number)
    images = examples.images_in_unit_range()
    logits_fn = load_logits_fn(model, images[:2], num_classes=data.num_classes)
    print(f"{values.model} on the first {number} of {total} {values.dataset} images")
    for eps in values.eps:
        is_mnist_linf = values.dataset == "mnist" and values.norm == "linf"
        judgement = Judgement(
            norm=values.norm,
            eps=eps,
            step_size=eps * (_STEP_MNIST_LINF if is_mnist_linf else _STEP),
            num_steps=NUM_STEPS,
            max_eps=min(2 * eps, 1.0) if values.norm == "linf" else 2 * eps,
            num_restarts=NUM_RESTARTS,
        )
        meter = RobustnessMeter(logits_fn, judgement)
        found = meter.measure(images, examples.labels, seed=values.seed).summary()
        print(
            f"{values.norm}, eps {eps:.4g}: clean {100 * found['accuracy']:.2f} %, "
            f"robust {100 * found['robust_accuracy']:.2f} %; average margin "
            f"{found['average_margin']:.4f} ({100 * found['above_max_eps']:.2f} % more "
            f"than {judgement.max_eps:.4g}, counted as that)\n"
            f"  attack: {judgement.describe()}, seed {values.seed}",
            flush=True,
        )


def _define(values: flags.FlagValues) -> None:
    for name in ("model", "data_dir", "source_dir"):
        flags.DEFINE_string(name, None, _FLAGS[name], flag_values=values)
    for name, default in (("dataset", "digits"), ("test_split", "test")):
        flags.DEFINE_string(name, default, _FLAGS[name], flag_values=values)
    flags.DEFINE_enum(
        "norm", "linf", ("linf", "l2"), _FLAGS["norm"], flag_values=values
    )
    flags.DEFINE(
        ListParser(parse_number), "eps", None, _FLAGS["eps"], flag_values=values
    )
    for name in ("num_examples", "seed"):
        flags.DEFINE_integer(name, 0, _FLAGS[name], lower_bound=0, flag_values=values)
    flags.DEFINE_boolean("help", False, "show this", flag_values=values)


if __name__ == "__main__":
    sys.exit(main())
