"""A classifier as attacks and evaluation see it."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from mma_tf.frozen import freeze
from mma_tf.types import LogitsFn, Tensor


class InferenceLogits:
    """A classifier bound to inference mode; see `inference_logits_fn`."""

    def __init__(self, classifier: keras.Model) -> None:
        self._classifier = classifier

    def __call__(self, images: Tensor) -> Tensor:
        """Returns logits `[batch, classes]`, float32 at least."""
        return at_least_float32(self._classifier(images, training=False))

    def freeze(self) -> LogitsFn:
        """Returns the same at the weights of now, faster; see `mma_tf.frozen`.

        Attacks call it once where they begin: between two changes of the weights.
        """
        frozen = freeze(self._classifier)
        return lambda images: at_least_float32(frozen(images))


def inference_logits_fn(classifier: keras.Model) -> LogitsFn:
    """Returns `classifier` bound to inference mode.

    Batch normalisation uses, and leaves alone, its moving statistics; dropout is off.
    Every attack, in training as in evaluation, goes through this function.

    Returns:
        Images `[batch, ...]` in [0, 1] to logits `[batch, classes]`, float32 at least.
    """
    return InferenceLogits(classifier)


@dataclasses.dataclass(frozen=True)
class UnitRangeLogits:
    """A function of any pixels, as one of images in [0, 1].

    Attributes:
        function: Pixels as it wants them to logits.
        input_range: The pixels that it wants for 0 and for 1.
        dtype: Of its pixels; None: whatever comes.
        fix: Returns `function` at the weights of now, if there is a faster one.
    """

    function: Callable[[Tensor], Any]
    input_range: tuple[float, float] = (0.0, 1.0)
    dtype: tf.DType | None = None
    fix: Callable[[], Callable[[Tensor], Any]] | None = None

    def __call__(self, images: Tensor) -> Any:
        """Returns logits, float32 at least; what is no tensor, unchanged."""
        outputs = self.function(self.pixels(images))
        return at_least_float32(outputs) if tf.is_tensor(outputs) else outputs

    def pixels(self, images: Tensor) -> Tensor:
        """Returns images in [0, 1] as the function wants them."""
        low, high = self.input_range
        pixels = tf.convert_to_tensor(images)
        if (low, high) != (0.0, 1.0):
            pixels = low + (high - low) * pixels
        if self.dtype is not None and self.dtype != pixels.dtype:
            # Bytes: the nearest one, as an image file would hold.
            whole = tf.round(pixels) if self.dtype.is_integer else pixels
            pixels = tf.cast(whole, self.dtype)
        return pixels

    def freeze(self) -> LogitsFn:
        """Returns the same at the weights of now; see `mma_tf.frozen`."""
        if self.fix is None:
            return self
        return dataclasses.replace(self, function=self.fix(), fix=None)


def at_least_float32(logits: Tensor) -> Tensor:
    """Returns half precision logits as float32, all others unchanged.

    Losses of bfloat16 logits would tie where those of float32 differ.
    """
    half = logits.dtype in (tf.float16, tf.bfloat16)
    return tf.cast(logits, tf.float32) if half else logits
