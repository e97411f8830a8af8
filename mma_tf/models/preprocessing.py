"""Preprocessing that belongs to a network, as a layer inside it."""

import math
from typing import Any

import keras


@keras.saving.register_keras_serializable(package="mma_tf")
class PerImageStandardization(keras.layers.Layer):
    """(x - mean) / max(deviation, 1 / sqrt(pixels)), each image by its own numbers.

    As `tf.image.per_image_standardization`; the bound keeps images of one colour
    finite.
    """

    def call(self, images: Any) -> Any:
        ops = keras.ops
        axes = (1, 2, 3)
        least = 1.0 / math.sqrt(math.prod(images.shape[1:]))
        mean = ops.mean(images, axis=axes, keepdims=True)
        # The squares of the differences, not of the pixels: a difference of large
        # numbers would make noise of flat images.
        variance = ops.mean(ops.square(images - mean), axis=axes, keepdims=True)
        # Bounded inside the root, whose gradient at zero is infinite.
        deviation = ops.sqrt(ops.maximum(variance, least**2))
        return (images - mean) / deviation

    def compute_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return input_shape
