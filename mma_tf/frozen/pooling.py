"""Maximum pooling with a faster gradient."""

from collections.abc import Callable

import tensorflow as tf

from mma_tf.types import Tensor


@tf.custom_gradient
def max_pool(inputs: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Returns the largest of each 2x2 pixels, as `tf.nn.max_pool2d` with stride 2 does.

    Of equals the first takes the gradient, as there. Spreading it over them is another
    gradient: in the background of a digit all pixels are equal.

    Args:
        inputs: `[batch, height, width, channels]`, height and width known and even.
    """
    height, width, channels = inputs.shape[1:]
    # Each row of pairs of pixels: the left one's channels, then the right one's.
    rows = tf.reshape(inputs, [-1, height // 2, 2, width // 2, 2 * channels])
    upper, lower = rows[:, :, 0], rows[:, :, 1]
    upper_left, upper_right = upper[..., :channels], upper[..., channels:]
    lower_left, lower_right = lower[..., :channels], lower[..., channels:]
    upper_most = tf.maximum(upper_left, upper_right)
    lower_most = tf.maximum(lower_left, lower_right)

    def gradient(upstream: Tensor) -> Tensor:
        zeros = tf.zeros_like(upstream)
        to_upper = tf.where(upper_most >= lower_most, upstream, zeros)
        to_lower = upstream - to_upper
        to_upper_left = tf.where(upper_left >= upper_right, to_upper, zeros)
        to_lower_left = tf.where(lower_left >= lower_right, to_lower, zeros)
        pairs = [
            tf.concat([to_upper_left, to_upper - to_upper_left], axis=-1),
            tf.concat([to_lower_left, to_lower - to_lower_left], axis=-1),
        ]
        return tf.reshape(tf.stack(pairs, axis=2), [-1, height, width, channels])

    return tf.maximum(upper_most, lower_most), gradient
