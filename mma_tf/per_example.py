"""Values that differ from example to example, laid over a batch of images."""

import numpy as np
import tensorflow as tf

from mma_tf.types import PerExample, Tensor


def to_batch(values: PerExample, images: Tensor) -> Tensor:
    """Returns `values` as one number an example.

    Args:
        values: A scalar or `[batch]`.
        images: `[batch, ...]`, gives the batch size and the dtype.

    Returns:
        `[batch]` in the dtype of `images`.

    Raises:
        ValueError: If `values` is neither a scalar nor `[batch]`.
    """
    if not tf.is_tensor(values):
        # TensorFlow would make float32 of a Python number, whatever the images are.
        values = np.asarray(values)
    values = tf.cast(values, images.dtype)
    size = images.shape[0]
    if values.shape.rank == 0:
        return tf.fill([tf.shape(images)[0] if size is None else size], values)
    if not values.shape.is_compatible_with([size]):
        raise ValueError(
            "Invalid per-example values: expected a scalar or shape [batch] = "
            f"[{size}]. Received: shape={values.shape}"
        )
    return values


def over_pixels(values: Tensor, images: Tensor) -> Tensor:
    """Returns `[batch]` values shaped `[batch, 1, ...]`, to be broadcast on images."""
    return tf.reshape(values, [-1] + [1] * (images.shape.rank - 1))


def select(condition: Tensor, chosen: Tensor, other: Tensor) -> Tensor:
    """Returns `chosen` for the examples where `condition` `[batch]`, else `other`."""
    # Whole rows are copied: a quarter of the time of `tf.where`, which broadcasts.
    return tf.raw_ops.Select(condition=condition, x=chosen, y=other)


def dot(first: Tensor, second: Tensor) -> Tensor:
    """Returns the inner product of each example of two `[batch, ...]`: `[batch]`."""
    return tf.reduce_sum(first * second, axis=pixel_axes(first))


def pixel_axes(images: Tensor) -> list[int]:
    """Returns the axes over which a per-example norm is taken: all but the first."""
    return list(range(1, images.shape.rank))
