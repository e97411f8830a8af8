"""The pooling with a gradient of its own equals TensorFlow's, ties too."""

import numpy as np
import pytest
import tensorflow as tf

from mma_tf.frozen.pooling import max_pool


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
@pytest.mark.parametrize("shape", [(3, 4, 6, 5), (2, 28, 28, 1)])
@pytest.mark.parametrize("num_values", [1, 2, 3, 1000])
def test_values_and_gradients_equal_tensorflows(shape, dtype, num_values):
    rng = np.random.default_rng(0)
    # With few values nearly all windows have ties.
    inputs = tf.constant(rng.integers(num_values, size=shape), dtype)
    half = (shape[0], shape[1] // 2, shape[2] // 2, shape[3])
    upstream = tf.constant(rng.normal(size=half), dtype)
    results = []
    for pool in (max_pool, lambda x: tf.nn.max_pool2d(x, 2, 2, "VALID")):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = pool(inputs)
            total = tf.reduce_sum(tf.cast(outputs * upstream, tf.float64))
        results.append((outputs, tape.gradient(total, inputs)))
    for ours, tensorflows in zip(*results, strict=True):
        np.testing.assert_array_equal(
            tf.cast(ours, tf.float64), tf.cast(tensorflows, tf.float64)
        )
