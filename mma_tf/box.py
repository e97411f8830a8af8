"""The valid images: every pixel in [0, 1]. The one place that says so."""

import tensorflow as tf

from mma_tf.types import Tensor

LOWEST = 0.0
HIGHEST = 1.0


def clip_to_box(images: Tensor) -> Tensor:
    """Returns `images` with every pixel clipped to [0, 1], shape and dtype kept."""
    return tf.clip_by_value(images, LOWEST, HIGHEST)
