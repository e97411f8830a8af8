"""Normalisation by fixed statistics equals the formula, in each precision."""

import numpy as np
import pytest
import tensorflow as tf

from mma_tf.frozen.normalization import normalization


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [("float64", 1e-12), ("float32", 1e-6), ("bfloat16", 1e-2), ("float16", 2e-3)],
)
@pytest.mark.parametrize("shape", [(3, 5), (2, 4, 6, 5)])
def test_values_and_gradients(shape, dtype, tolerance):
    rng = np.random.default_rng(0)
    weights = "float64" if dtype == "float64" else "float32"
    scale = tf.constant(rng.normal(size=5), weights)
    offset = tf.constant(rng.normal(size=5), weights)
    inputs = tf.constant(rng.normal(size=shape), dtype)
    upstream = tf.constant(rng.normal(size=shape), dtype)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = normalization(scale, offset)(inputs)
        total = tf.reduce_sum(tf.nn.relu(outputs) * upstream)
    gradient = tape.gradient(total, inputs)
    exact = inputs.numpy().astype("float64") * scale + offset
    slope = np.where(outputs > 0, upstream.numpy().astype("float64") * scale, 0)
    assert outputs.dtype == gradient.dtype == inputs.dtype
    scale_of = np.abs(exact).max()
    np.testing.assert_allclose(
        outputs.numpy().astype("float64"), exact, rtol=0, atol=tolerance * scale_of
    )
    np.testing.assert_allclose(
        gradient.numpy().astype("float64"), slope, rtol=tolerance, atol=tolerance
    )
