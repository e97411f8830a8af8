"""How lengths change over the steps of an attack."""

import math

import tensorflow as tf

from mma_tf.types import Tensor


def cosine(first: float, last: float, iteration: Tensor, num_steps: int) -> Tensor:
    """Returns the value at each `iteration` `[batch]` of a cosine, float64 `[batch]`.

    Args:
        first: At iteration 0.
        last: At iteration `num_steps`, and from then on.
        iteration: `[batch]` whole numbers >= 0.
        num_steps: The length of the half-wave, >= 1.
    """
    share = tf.minimum(tf.cast(iteration, tf.float64) / num_steps, 1)
    return last + (first - last) * (1 + tf.cos(math.pi * share)) / 2
