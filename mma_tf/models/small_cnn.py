"""A small network for very small images."""

import keras

from mma_tf.models.image_input import image_input
from mma_tf.models.logits import logits_layer


def small_cnn(
    input_shape: tuple[int, int, int] = (8, 8, 1),
    num_classes: int = 10,
    *,
    kernel_init: str = "glorot_uniform",
) -> keras.Model:
    """Returns a convolutional network that trains on 8x8 digits in seconds.

    Args:
        input_shape: Height, width and channels of the images; pixels in [0, 1].
        num_classes: How many logits it gives.
        kernel_init: How the kernels are drawn, an initialiser of Keras by its name.
    """
    layers = keras.layers
    images = image_input(input_shape)
    convolution = {
        "padding": "same",
        "activation": "relu",
        "kernel_initializer": kernel_init,
    }
    x = layers.Conv2D(32, 3, **convolution)(images)
    x = layers.Conv2D(64, 3, **convolution)(x)
    x = layers.MaxPooling2D(2)(x)
    x = layers.Flatten()(x)
    x = layers.Dense(128, activation="relu", kernel_initializer=kernel_init)(x)
    return keras.Model(
        images, logits_layer(num_classes, kernel_init)(x), name="small_cnn"
    )
