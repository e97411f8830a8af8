"""Random changes to a batch of training images, each a function of its seed alone.

A batch is the global one: its noise does not depend on the number of devices.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import tensorflow as tf

from mma_tf.types import Seed, Tensor

# Named, since the automatic choice differs between devices.
_ALGORITHM = "philox"


def pad_crop(images: Tensor, seed: Seed, *, padding: int = 4) -> Tensor:
    """Returns each image moved by up to `padding` pixels each way, zeros coming in.

    It is a crop, at a place of its own for each image, from the image padded with
    zeros on every side.

    Args:
        images: `[batch, height, width, channels]` with a static shape; uint8 in 0..255
            or float32 in [0, 1].
        seed: `[2]` integers.
        padding: Zeros on every side, >= 0.

    Returns:
        A batch of the same shape and dtype.
    """
    batch, height, width, channels = images.shape
    sides = [padding, padding]
    padded = tf.pad(images, [[0, 0], sides, sides, [0, 0]])
    padded_height, padded_width = height + 2 * padding, width + 2 * padding
    corner = tf.random.stateless_uniform(
        [batch, 2], seed, 0, 2 * padding + 1, tf.int32, alg=_ALGORITHM
    )
    row = corner[:, 0, tf.newaxis] + tf.range(height)
    column = corner[:, 1, tf.newaxis] + tf.range(width)
    row += tf.range(batch)[:, tf.newaxis] * padded_height
    pixel = row[:, :, tf.newaxis] * padded_width + column[:, tf.newaxis, :]
    # One gather of pixels is over twice as fast as one of rows and one of columns.
    pixels = tf.reshape(padded, [batch * padded_height * padded_width, channels])
    return tf.gather(pixels, pixel)


def mirror(images: Tensor, seed: Seed) -> Tensor:
    """Returns the batch with each image mirrored left to right with probability 1/2.

    Args:
        images: `[batch, height, width, channels]` with a static shape; any dtype.
        seed: `[2]` integers.
    """
    flip = tf.random.stateless_uniform(
        [images.shape[0], 1, 1, 1], seed, 0, 2, tf.int32, alg=_ALGORITHM
    )
    return tf.where(flip == 1, tf.reverse(images, axis=[2]), images)


def pad_crop_mirror(images: Tensor, seed: Seed, *, padding: int = 4) -> Tensor:
    """Returns `mirror` of `pad_crop` of the batch; arguments as there."""
    seeds = tf.random.split(seed, 2, alg=_ALGORITHM)
    return mirror(pad_crop(images, seeds[0], padding=padding), seeds[1])


def unchanged(images: Tensor, seed: Seed, *, padding: int = 4) -> Tensor:
    """Returns `images` as they are."""
    del seed, padding
    return images


AUGMENTATIONS: Mapping[str, Callable[..., Tensor]] = MappingProxyType(
    {"none": unchanged, "pad_crop": pad_crop, "pad_crop_mirror": pad_crop_mirror}
)
