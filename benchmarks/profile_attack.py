"""Where the time of AN-PGD goes on a processor, by kind of operation.

    .venv/bin/python -m benchmarks.profile_attack --cases=lenet5-50,lenet5-50-mixed

It runs AN-PGD of a case of `train_step.py` under TensorFlow's profiler (random weights
and images cost the same) and adds up the time within each kind of operation. Operations
that run at the same time count each, and the profiler takes time itself: read shares.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks.arguments import names
from benchmarks.train_step_cases import CASES, Case, recipe_of
from mma_tf.cli.quiet import import_tensorflow

import_tensorflow()

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from tensorflow.tsl.profiler.protobuf import xplane_pb2  # noqa: E402

from benchmarks.train_step_keras import an_pgd_of  # noqa: E402
from mma_tf.methods import make_classifier, make_model  # noqa: E402

_SHAPES = {"lenet5": (28, 28, 1), "wide_resnet": (32, 32, 3)}
_PLANE = "/host:CPU"
# An operation is recorded as "its name in the graph:its kind"; these are not one.
_NO_OPERATIONS = ("ParallelFor", "FunctionRun", "Process", "Run")
_LEAST_SHARE = 0.01


def profile(case: Case) -> tuple[float, Counter[str], Counter[str]]:
    """Returns seconds of AN-PGD, and by kind of operation seconds and calls."""
    recipe = recipe_of(case, timed=True)
    keras.config.set_dtype_policy(recipe.precision)
    shape = _SHAPES[case.network]
    classifier = make_classifier(recipe, image_shape=shape, num_classes=10)
    model = make_model(recipe, classifier, num_examples=case.batch_size)
    rng = np.random.default_rng(0)
    images = tf.constant(rng.uniform(size=(case.batch_size, *shape)), tf.float32)
    labels = tf.constant(rng.integers(10, size=case.batch_size), tf.int32)
    attack = an_pgd_of(model, jit_compile=False)
    for _ in range(2):
        started = time.perf_counter()
        attack(images, labels)[1].numpy()
        seconds = time.perf_counter() - started
    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            attack(images, labels)[1].numpy()
        return seconds, *_by_kind(Path(folder))


def _by_kind(folder: Path) -> tuple[Counter[str], Counter[str]]:
    seconds: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    for path in folder.rglob("*.xplane.pb"):
        space = xplane_pb2.XSpace.FromString(path.read_bytes())
        for plane in space.planes:
            if plane.name != _PLANE:
                continue
            for event in (event for line in plane.lines for event in line.events):
                name = plane.event_metadata[event.metadata_id].name
                _, colon, kind = name.rpartition(":")
                if colon and kind.isidentifier() and kind not in _NO_OPERATIONS:
                    seconds[kind] += event.duration_ps * 1e-12
                    calls[kind] += 1
    return seconds, calls


def main() -> int:
    """Prints a table for each case."""
    training = [name for name, case in CASES.items() if case.is_training]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--cases",
        type=names(training),
        default="lenet5-50,lenet5-50-mixed",
        help=f"some of {','.join(training)} (default: %(default)s)",
    )
    for name in parser.parse_args().cases:
        whole, seconds, calls = profile(CASES[name])
        total = seconds.total()
        print(f"\n`{name}`, {whole:.3f} s without the profiler\n")
        print("| operation | share | calls |\n|---|---|---|")
        for kind, value in seconds.most_common():
            if value >= _LEAST_SHARE * total:
                print(f"| {kind.lstrip('_')} | {value / total:.0%} | {calls[kind]} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
