"""Where the images come into a network."""

import keras


def image_input(input_shape: tuple[int, int, int]) -> keras.KerasTensor:
    """Returns a network's input: images in [0, 1], in the precision of its weights.

    Keras would take float32 under any policy and round the images of a float64 network.

    Args:
        input_shape: Height, width and channels of the images.
    """
    policy = keras.config.dtype_policy()
    return keras.Input(input_shape, dtype=policy.variable_dtype, name="image")
