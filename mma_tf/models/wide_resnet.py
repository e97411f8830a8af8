"""Wide residual networks, the paper's networks for CIFAR-10."""

from typing import Any

import keras

from mma_tf.errors import UserError
from mma_tf.models.image_input import image_input
from mma_tf.models.logits import logits_layer
from mma_tf.models.preprocessing import PerImageStandardization

_GROUPS = ((16, 1), (32, 2), (64, 2))


def wide_resnet(
    input_shape: tuple[int, int, int] = (32, 32, 3),
    num_classes: int = 10,
    *,
    depth: int = 28,
    width: int = 4,
) -> keras.Model:
    """Returns a wide residual network of pre-activated basic blocks.

    Args:
        input_shape: Height, width and channels of the images; pixels in [0, 1], which
            the network standardises image by image.
        num_classes: How many logits it gives.
        depth: 6n + 4: three groups of n blocks of two convolutions.
        width: Factor on the groups' 16, 32 and 64 channels.

    Returns:
        A functional model.

    Raises:
        UserError: If `depth` is not 6n + 4 with n >= 1, or `width` is below 1.

    Reference: Zagoruyko & Komodakis, 2016 (arXiv 1605.07146); with per-image
    standardisation as in Ding et al., ICLR 2020 (arXiv 1812.02637).
    """
    if depth < 10 or depth % 6 != 4:
        raise UserError(
            "Invalid `--depth`: expected 10, 16, 22, 28 or another 6n + 4. Received: "
            f"depth={depth}"
        )
    if width < 1:
        raise UserError(
            f"Invalid `--width`: expected at least 1. Received: width={width}"
        )
    images = image_input(input_shape)
    # In full precision: half would round an image by a good part of a perturbation.
    x = PerImageStandardization(dtype=images.dtype)(images)
    x = _convolution(16)(x)
    for channels, strides in _GROUPS:
        for number in range((depth - 4) // 6):
            x = _block(x, channels * width, strides if number == 0 else 1)
    x = keras.layers.GlobalAveragePooling2D()(_activate(x))
    name = f"wide_resnet_{depth}_{width}"
    return keras.Model(images, logits_layer(num_classes)(x), name=name)


def _block(x: Any, channels: int, strides: int) -> Any:
    activated = _activate(x)
    # The shortcut of a block that changes the shape acts on the pre-activated input.
    is_same = strides == 1 and x.shape[-1] == channels
    shortcut = x if is_same else _convolution(channels, 1, strides)(activated)
    residual = _convolve(activated, channels, strides)
    residual = _convolve(_activate(residual), channels, 1)
    return keras.layers.Add()([shortcut, residual])


def _activate(x: Any) -> Any:
    x = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)
    return keras.layers.ReLU()(x)


def _convolve(x: Any, channels: int, strides: int) -> Any:
    if strides == 1:
        return _convolution(channels)(x)
    # Padded by one on each side, as the authors' network is; "same" would pad one side.
    x = keras.layers.ZeroPadding2D(1)(x)
    return _convolution(channels, strides=strides, padding="valid")(x)


def _convolution(
    channels: int, size: int = 3, strides: int = 1, padding: str = "same"
) -> keras.layers.Conv2D:
    return keras.layers.Conv2D(
        channels,
        size,
        strides,
        padding=padding,
        use_bias=False,
        kernel_initializer=keras.initializers.VarianceScaling(
            2.0, "fan_out", "untruncated_normal"
        ),
    )
