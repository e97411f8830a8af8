"""A classifier as attacks and evaluation see it."""

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


def at_least_float32(logits: Tensor) -> Tensor:
    """Returns half precision logits as float32, all others unchanged.

    Losses of bfloat16 logits would tie where those of float32 differ.
    """
    half = logits.dtype in (tf.float16, tf.bfloat16)
    return tf.cast(logits, tf.float32) if half else logits
