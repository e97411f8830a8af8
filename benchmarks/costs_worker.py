"""Times the steps of one `Point`; a worker of `costs.py`, one point in its life."""

import time
from collections.abc import Iterator
from typing import Any

from benchmarks.costs_points import Point
from benchmarks.train_step_worker import resident_bytes, serve
from mma_tf.cli.quiet import import_tensorflow

import_tensorflow()

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

from benchmarks.train_step_keras import StepClock  # noqa: E402
from mma_tf import experiment  # noqa: E402
from mma_tf.data.examples import Examples  # noqa: E402
from mma_tf.data.pipelines import training_batches  # noqa: E402
from mma_tf.methods import make_classifier, make_trainable_model  # noqa: E402
from mma_tf.recipes.resolve import resolve  # noqa: E402
from mma_tf.strategy import make_strategy, xla_pays  # noqa: E402

_SHAPES = {"mnist": (28, 28, 1), "cifar10": (32, 32, 3)}
_NUM_CLASSES = 10


class Side:
    """The handlers of the requests."""

    def prepare(self, point: dict[str, Any]) -> dict[str, Any]:
        """Builds a point's model and makes a step."""
        it = Point(**point)
        overrides = {
            "batch_size": it.batch_size,
            "attack_steps": it.attack_steps,
            "precision": it.precision,
        }
        if it.depth is not None:
            overrides["depth"] = it.depth
        recipe = resolve(it.dataset, "linf", overrides=overrides).recipe
        strategy = make_strategy("auto", logical_devices=it.logical_devices)
        experiment.configure_process(recipe)
        shape = _SHAPES[it.dataset]
        rng = np.random.default_rng(0)
        self._examples = Examples(
            rng.integers(256, size=(it.num_examples, *shape), dtype=np.uint8),
            rng.integers(_NUM_CLASSES, size=it.num_examples, dtype=np.int32),
        )
        with strategy.scope():
            classifier = make_classifier(
                recipe, image_shape=shape, num_classes=_NUM_CLASSES
            )
            model = make_trainable_model(
                recipe,
                classifier,
                image_shape=shape,
                num_examples=it.num_examples,
                jit_compile=xla_pays(strategy),
            )
        self._recipe, self._model, self._done = recipe, model, 0
        self.run(1)
        return {}

    def run(self, steps: int) -> dict[str, Any]:
        """Trains as `bin/train` does and returns the seconds of a step."""
        clock = StepClock(steps)
        batches = self._batches(self._done + steps)
        self._model.fit(batches, epochs=1, shuffle=False, verbose=0, callbacks=[clock])
        self._done += steps
        return {"seconds": clock.seconds / steps, "resident_bytes": resident_bytes()}

    def wait(self, steps: int) -> dict[str, Any]:
        """Trains and returns the share of the time that was spent on waiting for data.

        Keras takes its batches within a compiled function; here they are taken by hand,
        so that a clock can stand between.
        """
        step = tf.function(self._model.train_step)
        batches = iter(self._batches(self._done + steps + 1))
        # Traced, and the pipeline is at work.
        step(next(batches))["loss"].numpy()
        waiting = 0.0
        started = time.perf_counter()
        for seconds, batch in _timed(batches):
            waiting += seconds
            step(batch)["loss"].numpy()
        self._done += steps + 1
        total = time.perf_counter() - started
        return {"seconds": total / steps, "share": waiting / total}

    def _batches(self, stop: int) -> tf.data.Dataset:
        return training_batches(
            self._examples,
            batch_size=self._recipe.batch_size,
            seed=self._recipe.seed,
            num_steps=stop,
            start_step=self._done,
            augmentation=self._recipe.augmentation,
        )


def _timed(batches: Iterator[Any]) -> Iterator[tuple[float, Any]]:
    """Gives each batch with the seconds that it took to come."""
    while True:
        started = time.perf_counter()
        try:
            batch = next(batches)
        except StopIteration:
            return
        yield time.perf_counter() - started, batch


def main() -> None:
    """Answers requests until there are no more."""
    side = Side()
    serve({name: getattr(side, name) for name in ("prepare", "run", "wait")})


if __name__ == "__main__":
    main()
