"""Random moves of a batch of training images, each a function of its seed alone.

A batch is the global one: its noise does not depend on the number of devices. How the
images are moved is drawn apart from moving them (`mma_tf.moves`), so that what a
training finds in a moved image can be kept for the image itself.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import tensorflow as tf

from mma_tf.types import Seed, Tensor

# Named, since the automatic choice differs between devices.
_ALGORITHM = "philox"


def pad_crop(batch_size: int, seed: Seed, *, padding: int = 4) -> Tensor:
    """Returns moves by up to `padding` pixels each way.

    They are crops, at a place of its own for each image, from the image padded with
    zeros on every side.

    Args:
        batch_size: Images in the batch.
        seed: `[2]` integers.
        padding: Zeros on every side, >= 0.

    Returns:
        `[batch_size, 3]` int32, see `mma_tf.moves.move`.
    """
    corner = tf.random.stateless_uniform(
        [batch_size, 2], seed, 0, 2 * padding + 1, tf.int32, alg=_ALGORITHM
    )
    return tf.pad(corner - padding, [[0, 0], [0, 1]])


def mirror(batch_size: int, seed: Seed) -> Tensor:
    """Returns moves that mirror each image left to right with probability 1/2.

    Args:
        batch_size: Images in the batch.
        seed: `[2]` integers.

    Returns:
        `[batch_size, 3]` int32, see `mma_tf.moves.move`.
    """
    mirrored = tf.random.stateless_uniform(
        [batch_size, 1], seed, 0, 2, tf.int32, alg=_ALGORITHM
    )
    return tf.pad(mirrored, [[0, 0], [2, 0]])


def pad_crop_mirror(batch_size: int, seed: Seed, *, padding: int = 4) -> Tensor:
    """Returns moves of `pad_crop` and `mirror`, one after the other."""
    seeds = tf.random.split(seed, 2, alg=_ALGORITHM)
    crops = pad_crop(batch_size, seeds[0], padding=padding)
    return crops + mirror(batch_size, seeds[1])


# None where images stay as they are.
AUGMENTATIONS: Mapping[str, Callable[..., Tensor] | None] = MappingProxyType(
    {"none": None, "pad_crop": pad_crop, "pad_crop_mirror": pad_crop_mirror}
)
