"""LeNet5, the paper's network for MNIST."""

import keras

from mma_tf.models.image_input import image_input
from mma_tf.models.logits import logits_layer


def lenet5(
    input_shape: tuple[int, int, int] = (28, 28, 1),
    num_classes: int = 10,
    *,
    kernel_init: str = "glorot_uniform",
) -> keras.Model:
    """Returns a LeNet5: two 5x5 convolutions with pooling, two dense layers.

    Args:
        input_shape: Height, width and channels of the images; pixels in [0, 1].
        num_classes: How many logits it gives.
        kernel_init: How the kernels are drawn, an initialiser of Keras by its name.

    Returns:
        A functional model, 3,274,634 weights for MNIST.

    Reference: Ding et al., ICLR 2020 (arXiv 1812.02637).
    """
    layers = keras.layers
    images = image_input(input_shape)
    convolution = {
        "padding": "same",
        "activation": "relu",
        "kernel_initializer": kernel_init,
    }
    x = layers.Conv2D(32, 5, **convolution)(images)
    x = layers.MaxPooling2D(2)(x)
    x = layers.Conv2D(64, 5, **convolution)(x)
    x = layers.MaxPooling2D(2)(x)
    x = layers.Flatten()(x)
    x = layers.Dense(1024, activation="relu", kernel_initializer=kernel_init)(x)
    return keras.Model(images, logits_layer(num_classes, kernel_init)(x), name="lenet5")
