"""The averaged weights of a Keras optimiser, for as long as they are looked at."""

import contextlib
from collections.abc import Iterator

import keras
import tensorflow as tf


@contextlib.contextmanager
def averaged_weights(model: keras.Model) -> Iterator[None]:
    """Puts the optimiser's averaged weights into `model`, and takes them out again.

    Does nothing where the optimiser keeps no averages (`use_ema=False`), or has none
    yet, before its first step. The weights
    come back bit by bit, so that training goes on as if nothing had happened.
    """
    optimizer = getattr(model, "optimizer", None)
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    keeps_averages = getattr(inner, "use_ema", False)
    if optimizer is None or not keeps_averages or not optimizer.iterations.numpy():
        yield
        return
    weights = model.trainable_variables
    kept = [tf.identity(weight.value) for weight in weights]
    optimizer.finalize_variable_values(weights)
    try:
        yield
    finally:
        for weight, value in zip(weights, kept, strict=True):
            weight.assign(value)
