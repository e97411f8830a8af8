"""Steps onto a hyperplane that stay in the box, for any norm."""

import tensorflow as tf

from mma_tf.box import HIGHEST, LOWEST
from mma_tf.per_example import over_pixels, pixel_axes
from mma_tf.types import Tensor

# Newton's method ends by itself when no further pixel meets the box.
_MAX_ITERATIONS = 100


def room_in_box(points: Tensor, signs: Tensor) -> Tensor:
    """Returns how far each pixel can move until it meets the box, `[batch, ...]`.

    Args:
        points: `[batch, ...]` in [0, 1].
        signs: `[batch, ...]`, 1 upwards, -1 downwards, 0 where it does not move.
    """
    upwards, downwards = tf.nn.relu(signs), tf.nn.relu(-signs)
    return upwards * (HIGHEST - points) + downwards * (points - LOWEST)


def saturating_root(gains: Tensor, limits: Tensor, needed: Tensor) -> Tensor:
    """Returns the length t for which sum_i min(gains_i * t, limits_i) = needed.

    The sum is concave and piecewise linear in t, so that Newton's method from t = 0
    rises to the root, and meets it exactly when it arrives in the root's piece.

    Args:
        gains: `[batch, ...]` >= 0.
        limits: `[batch, ...]` >= 0.
        needed: `[batch]` >= 0.

    Returns:
        `[batch]`; so long that all terms are at their limits where that is not enough.
    """
    axes = pixel_axes(gains)
    farthest = tf.reduce_max(tf.math.divide_no_nan(limits, gains), axis=axes)

    def improve(count: Tensor, length: Tensor, _: Tensor) -> tuple[Tensor, ...]:
        terms = tf.minimum(gains * over_pixels(length, gains), limits)
        reached = tf.reduce_sum(terms, axis=axes)
        # 1 where a term is below its limit, 0 where it is at it.
        free = tf.sign(limits - terms)
        slope = tf.reduce_sum(free * gains, axis=axes)
        longer = length + tf.math.divide_no_nan(needed - reached, slope)
        longer = tf.where(slope > 0, longer, farthest)
        longer = tf.minimum(tf.maximum(longer, length), farthest)
        return count + 1, longer, tf.reduce_any(longer > length)

    _, length, _ = tf.while_loop(
        lambda count, length, moved: moved,
        improve,
        (tf.constant(0), tf.zeros_like(needed), tf.constant(True)),
        maximum_iterations=_MAX_ITERATIONS,
        parallel_iterations=1,
    )
    return length
