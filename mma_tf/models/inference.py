"""A classifier as attacks and evaluation see it."""

import keras
import tensorflow as tf

from mma_tf.types import LogitsFn, Tensor


def inference_logits_fn(classifier: keras.Model) -> LogitsFn:
    """Returns `classifier` bound to inference mode.

    Batch normalisation uses, and leaves alone, its moving statistics; dropout is off.
    Every attack, in training as in evaluation, goes through this function.

    Returns:
        Images `[batch, ...]` in [0, 1] to logits `[batch, classes]`, float32 at least.
    """
    return lambda images: at_least_float32(classifier(images, training=False))


def at_least_float32(logits: Tensor) -> Tensor:
    """Returns half precision logits as float32, all others unchanged.

    Losses of bfloat16 logits would tie where those of float32 differ.
    """
    half = logits.dtype in (tf.float16, tf.bfloat16)
    return tf.cast(logits, tf.float32) if half else logits
