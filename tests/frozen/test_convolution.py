"""The convolution with a gradient of its own equals TensorFlow's."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from mma_tf.frozen.convolution import block_side, convolution

EXTENTS = ((7, 7), (8, 9), (13, 6), (28, 28))


def values_and_gradients(function, inputs):
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = function(inputs)
        # Every output has a weight of its own in the gradient.
        total = tf.reduce_sum(tf.sin(outputs) * outputs)
    return outputs.numpy(), tape.gradient(total, inputs).numpy()


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("stride", [1, 2, 3, 4])
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_values_and_gradients_equal_tensorflows(channels, stride, padding):
    rng = np.random.default_rng(0)
    for (height, width), rows, columns in itertools.product(EXTENTS, (1, 4, 5), (2, 3)):
        inputs = tf.constant(rng.normal(size=(2, height, width, channels)))
        kernel = tf.constant(rng.normal(size=(rows, columns, channels, 3)))
        ours = convolution(kernel, stride=stride, padding=padding)
        found = values_and_gradients(ours, inputs)
        expected = values_and_gradients(
            lambda x, k=kernel: tf.nn.conv2d(x, k, stride, padding.upper()), inputs
        )
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_allclose(found[1], expected[1], rtol=1e-10, atol=1e-11)


def test_few_channels_take_blocks_of_their_own():
    # The gradient above would pass too if no block were ever used.
    assert block_side(1, 1) == 4
    assert block_side(1, 2) == 4
    assert block_side(3, 1) == 2
    assert block_side(3, 4) is None
    assert block_side(16, 1) is None


def test_images_of_unknown_size_are_taken_too():
    kernel = tf.random.stateless_normal([3, 3, 1, 4], [0, 1], dtype=tf.float64)
    convolve = convolution(kernel, stride=1, padding="same")
    spec = tf.TensorSpec([None, None, None, 1], tf.float64)

    @tf.function(input_signature=[spec])
    def gradient(images):
        with tf.GradientTape() as tape:
            tape.watch(images)
            total = tf.reduce_sum(convolve(images) ** 2)
        return tape.gradient(total, images)

    images = tf.random.stateless_uniform([2, 6, 7, 1], [0, 2], dtype=tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(images)
        total = tf.reduce_sum(tf.nn.conv2d(images, kernel, 1, "SAME") ** 2)
    np.testing.assert_allclose(
        gradient(images), tape.gradient(total, images), rtol=1e-10
    )
