"""Our side's steps: the model is built, compiled, fed and trained as `bin/train` does.

Import TensorFlow by `mma_tf.cli.quiet` before this module.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from benchmarks import machine_peak
from benchmarks.train_step_cases import Case, recipe_of
from benchmarks.train_step_problem import weights_of
from benchmarks.train_step_worker import Mistake
from mma_tf.attacks.an_pgd import an_pgd
from mma_tf.attacks.pgd import pgd
from mma_tf.data.examples import Examples
from mma_tf.data.pipelines import training_batches
from mma_tf.devices import has_gpu
from mma_tf.export import export_classifier
from mma_tf.load import load_logits_fn
from mma_tf.losses.cross_entropy import cross_entropy
from mma_tf.methods import make_classifier, make_trainable_model
from mma_tf.models.inference import inference_logits_fn
from mma_tf.recipes.schema import Recipe
from mma_tf.strategy import make_strategy, xla_pays
from mma_tf.training.mma_model import MMAModel

# Of AN-PGD and the peak it is held against, in turns.
_PEAK_SECONDS = 0.5


class StepClock(keras.callbacks.Callback):
    """Times the steps of a `fit`, without the making of its iterator."""

    def __init__(self, num_steps: int) -> None:
        super().__init__()
        self._num_steps = num_steps
        self._started = 0.0
        self.seconds = 0.0

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if batch == 0:
            self._started = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if batch == self._num_steps - 1:
            # A GPU has done the step only when its loss can be read.
            float(logs["loss"])
            self.seconds = time.perf_counter() - self._started


class Training:
    """Whole MMA steps."""

    def __init__(
        self, case: Case, arrays: dict[str, np.ndarray], timed: bool, num_steps: int
    ) -> None:
        self._recipe = recipe_of(case, timed=timed)
        self._case = case
        self._examples = Examples(arrays["images"], arrays["labels"])
        self._num_steps = num_steps
        self._done = 0
        # Of the images: float64 in a check.
        self._dtype = keras.config.dtype_policy().variable_dtype
        self._strategy = make_strategy("none")
        with self._strategy.scope():
            self.classifier = _build(self._recipe, arrays)
            if not timed:
                _freeze_statistics(self.classifier)
            model = make_trainable_model(
                self._recipe,
                self.classifier,
                image_shape=arrays["images"].shape[1:],
                num_examples=len(self._examples),
                jit_compile=xla_pays(self._strategy),
            )
        model.memory.kept.assign(arrays["memory"] * self._recipe.d_max)
        self._model = model

    def order(self) -> list[list[int]]:
        """Returns the examples of each step."""
        return [inputs["index"].numpy().tolist() for inputs, _ in self._batches(0)]

    def run(self, steps: int) -> dict[str, Any]:
        """Trains for so many steps."""
        clock = StepClock(steps)
        batches = self._batches(self._done, self._done + steps)
        history = self._model.fit(
            batches, epochs=1, shuffle=False, verbose=0, callbacks=[clock]
        ).history
        self._done += steps
        return {
            "seconds": clock.seconds / steps,
            "right": history["accuracy"][0],
            "eps": history["eps"][0],
            "loss": history["loss"][0],
        }

    def check(self) -> dict[str, Any]:
        """Makes one step and returns what it computed."""
        index = self.order()[0]
        loss = self.run(1)["loss"]
        images = tf.cast(self._examples.images_in_unit_range()[index], self._dtype)
        after = cross_entropy(self._examples.labels[index], self._model.logits(images))
        return {
            "loss": loss,
            "values": self._model.memory.kept.numpy()[index].tolist(),
            "after": float(tf.reduce_mean(after)),
        }

    def an_pgd(self, repeats: int) -> dict[str, Any]:
        """Times AN-PGD alone, and the convolution peak in turns with it.

        Returns:
            `seconds` and `peaks` (operations a second), one each repeat, and
            `operations` of AN-PGD on the whole batch, whatever is left out of it.
        """
        recipe = self._recipe
        attack = an_pgd_of(self._model, jit_compile=xla_pays(self._strategy))
        (inputs, labels) = next(iter(self._batches(0, 1)))
        dtype = "float32" if recipe.precision == "float32" else "bfloat16"
        attack(inputs["image"], labels)
        seconds, peaks = [], []
        for _ in range(repeats):
            peaks.append(machine_peak.convolution_peak(dtype, seconds=_PEAK_SECONDS))
            started = time.perf_counter()
            attack(inputs["image"], labels)[1].numpy()
            seconds.append(time.perf_counter() - started)
        # A PGD step is a forward pass and the images' gradient, a probe the former.
        passes = 2 * recipe.attack_steps + recipe.search_steps
        operations = forward_operations(self.classifier)
        return {
            "seconds": seconds,
            "operations": operations * passes * recipe.batch_size,
            "peaks": peaks,
        }

    def _batches(self, start: int, stop: int | None = None) -> tf.data.Dataset:
        batches = training_batches(
            self._examples,
            batch_size=self._recipe.batch_size,
            seed=self._recipe.seed,
            num_steps=self._num_steps if stop is None else stop,
            start_step=start,
            augmentation=self._recipe.augmentation,
        )
        return batches if self._dtype == "float32" else batches.map(self._cast)

    def _cast(self, inputs: Any, labels: Any) -> Any:
        return {**inputs, "image": tf.cast(inputs["image"], self._dtype)}, labels


class Attack:
    """PGD steps of an evaluation."""

    def __init__(self, case: Case, arrays: dict[str, np.ndarray], timed: bool) -> None:
        recipe = recipe_of(case, timed=timed)
        self.classifier = _build(recipe, arrays)
        images = Examples(arrays["images"], arrays["labels"]).images_in_unit_range()
        dtype = keras.config.dtype_policy().variable_dtype
        self._images = tf.cast(images[: case.batch_size], dtype)
        self._labels = tf.constant(arrays["labels"][: case.batch_size])
        self._num_steps = case.attack_steps
        logits_fn = inference_logits_fn(self.classifier)
        if case.kind == "attack_saved_model":
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "model"
                export_classifier(self.classifier, path, {})
                logits_fn = load_logits_fn(path, images[:2], num_classes=10)
        self._logits_fn = logits_fn
        self._attack = tf.function(
            lambda images, labels: pgd(
                logits_fn,
                images,
                labels,
                norm=recipe.norm,
                eps=recipe.test_eps,
                num_steps=case.attack_steps,
                step_size=recipe.test_step_size,
            ),
            jit_compile=has_gpu(),
        )

    def order(self) -> list[list[int]]:
        """Returns the examples of the batch."""
        return [list(range(len(self._labels)))]

    def run(self, steps: int) -> dict[str, Any]:
        """Attacks so many times; the seconds are those of one PGD step."""
        started = time.perf_counter()
        for _ in range(steps):
            points = self._attack(self._images, self._labels)
        points[0].numpy()
        seconds = (time.perf_counter() - started) / (steps * self._num_steps)
        predictions = tf.argmax(self._logits_fn(points), axis=1, output_type=tf.int32)
        right = tf.reduce_mean(tf.cast(predictions == self._labels, tf.float32))
        return {"seconds": seconds, "right": float(right), "eps": None}

    def check(self) -> dict[str, Any]:
        """Attacks once and returns the losses found."""
        points = self._attack(self._images, self._labels)
        losses = cross_entropy(self._labels, self._logits_fn(points))
        return {
            "loss": float(tf.reduce_mean(losses)),
            "values": losses.numpy().tolist(),
        }


def an_pgd_of(model: MMAModel, *, jit_compile: bool) -> Callable[..., Any]:
    """Returns AN-PGD as the model's training runs it, from its least length."""
    return tf.function(
        lambda images, labels: an_pgd(
            model.inference_logits_fn,
            images,
            labels,
            norm=model.norm,
            initial_eps=model.min_eps,
            max_eps=model.max_eps(images.shape[1:]),
            num_steps=model.attack_steps,
            num_search_steps=model.search_steps,
            step_size_factor=model.step_size_factor,
            step_decay=model.step_decay,
            num_start_queries=model.start_queries,
        ),
        jit_compile=jit_compile,
    )


def forward_operations(classifier: keras.Model) -> float:
    """Returns the operations of a forward pass for an image, by layer.

    Those of convolutions and dense layers, a multiplication and an addition being two;
    the gradient with respect to a layer's input takes as many again.
    """
    total = 0.0
    for layer in classifier.layers:
        kernel = getattr(layer, "kernel", None)
        if kernel is not None:
            places = layer.output.shape[1:-1]
            total += 2.0 * float(np.prod(kernel.shape)) * float(np.prod(places))
    return total


def _freeze_statistics(classifier: keras.Model) -> None:
    """Makes moving averages stand still: PyTorch's variance is not quite Keras'."""
    for layer in classifier.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 1.0


def _build(recipe: Recipe, arrays: dict[str, np.ndarray]) -> keras.Model:
    classifier = make_classifier(
        recipe, image_shape=arrays["images"].shape[1:], num_classes=10
    )
    here = weights_of(classifier)
    for name, weight in here.items():
        if name not in arrays or arrays[name].shape != weight.shape:
            raise Mistake(
                "The networks in --cache are of another version of this package: "
                "remove the folder, and they are trained again."
            )
    classifier.set_weights([arrays[name] for name in here])
    return classifier
