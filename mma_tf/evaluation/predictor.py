"""A classifier's logits for any number of images, in batches of one size."""

import numpy as np
import tensorflow as tf

from mma_tf.devices import has_gpu
from mma_tf.types import LogitsFn


class Predictor:
    """A classifier, compiled once for many uses.

    Args:
        logits_fn: Images to logits `[batch, classes]`, in inference mode.
        batch_size: Images at a time.
    """

    def __init__(self, logits_fn: LogitsFn, batch_size: int) -> None:
        self._batch_size = batch_size
        self._logits_fn = tf.function(logits_fn, jit_compile=has_gpu())

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Returns the logits `[n, classes]` of `[n, ...]` images, n >= 1."""
        size = self._batch_size
        parts = []
        for start in range(0, len(images), size):
            batch = images[start : start + size]
            logits = self._logits_fn(tf.constant(fill_up(batch, size))).numpy()
            parts.append(logits[: len(batch)])
        return np.concatenate(parts)


def fill_up(values: np.ndarray, size: int) -> np.ndarray:
    """Returns `[n, ...]` values with the first repeated up to `[size, ...]`.

    One shape means one compilation.
    """
    missing = size - len(values)
    if not missing:
        return values
    return np.concatenate([values, np.repeat(values[:1], missing, axis=0)])
