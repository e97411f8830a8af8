"""Gradients with respect to images, alone and within an attack's loop."""

import numpy as np
import pytest
import tensorflow as tf

from mma_tf.attacks.gradients import gives_gradient, value_and_gradient


def squares(points):
    return tf.reduce_sum(points**2, axis=1), points


def descend(points):
    return tf.while_loop(
        lambda i, x: i < 3,
        lambda i, x: (i + 1, x - 0.25 * value_and_gradient(squares, x)[1]),
        (0, points),
    )[1]


def test_gradients_are_those_of_the_values():
    points = tf.constant([[1.0, 2.0], [3.0, -4.0]])
    (values, logits), gradients = value_and_gradient(squares, points)
    np.testing.assert_allclose(values, [5.0, 25.0])
    np.testing.assert_allclose(logits, points)
    np.testing.assert_allclose(gradients, 2 * points)


def test_a_loop_finds_the_same_eagerly_and_compiled():
    points = tf.constant([[1.0, 2.0], [3.0, -4.0]])
    np.testing.assert_allclose(descend(points), points / 8)
    np.testing.assert_allclose(tf.function(descend)(points), points / 8)


@pytest.mark.skipif(
    bool(tf.config.list_physical_devices("GPU")), reason="for processors only"
)
def test_a_compiled_loop_calls_the_gradient_as_a_graph_of_its_own():
    # Within the loop's own graph oneDNN takes part by chance; see gradients.py.
    graph = tf.function(descend).get_concrete_function(tf.TensorSpec([2, 2])).graph
    functions = graph.as_graph_def().library.function
    assert any(function.attr["_noinline"].b for function in functions)


def test_slopes_that_are_not_numbers_move_nothing():
    def roots(points):
        return tf.reduce_sum(tf.sqrt(points) * 0, axis=1), points

    _, gradients = value_and_gradient(roots, tf.constant([[0.0, 1.0]]))
    np.testing.assert_array_equal(gradients, [[0.0, 0.0]])


def test_a_confident_network_in_float16_still_has_a_slope():
    kernel = np.random.default_rng(0).normal(size=(4, 3)) * 1e-2

    def gradient_of(dtype, scale):
        def losses(points):
            weights = tf.constant(kernel, dtype)
            logits = tf.cast(tf.cast(points, dtype) @ weights, tf.float32)
            # So sure of the first class that float16 knows no slope as small.
            values = scale * logits[:, 1]
            return values, logits

        return value_and_gradient(losses, tf.ones([2, 4]))[1].numpy()

    exact = gradient_of(tf.float32, 1e-8)
    assert np.all(exact != 0)
    np.testing.assert_allclose(gradient_of(tf.float16, 1e-8), exact, rtol=2e-3)


@pytest.mark.parametrize("scale", [1e-38, 1e-30, 3.0, 1e30])
def test_slopes_of_any_size_are_exact(scale):
    points = tf.constant([[1.0, 2.0], [3.0, -4.0], [0.0, 0.0]])
    weights = tf.constant([[1.0, -0.3], [0.7, 2.0]])

    def scaled(points):
        logits = points @ weights
        return scale * tf.reduce_sum(logits**2, axis=1) / 100, logits

    with tf.GradientTape() as tape:
        tape.watch(points)
        values, _ = scaled(points)
    expected = tape.gradient(values, points)
    np.testing.assert_array_equal(value_and_gradient(scaled, points)[1], expected)


def test_a_function_without_gradient_is_refused():
    with pytest.raises(ValueError, match="whose gradient can be taken"):
        value_and_gradient(
            lambda points: (tf.stop_gradient(points)[:, 0], points),
            tf.constant([[0.0, 1.0]]),
        )


def test_a_function_without_a_gradient_is_known():
    points = tf.constant([[1.0, 2.0], [3.0, -4.0]])
    assert gives_gradient(tf.square, points)
    assert not gives_gradient(tf.round, points)


@pytest.mark.parametrize(
    "error", [tf.errors.UnimplementedError, tf.errors.ResourceExhaustedError]
)
def test_a_gradient_that_this_device_cannot_compute_is_not_taken_for_none(error):
    @tf.custom_gradient
    def function(points):
        def gradient(upstream):
            raise error(None, None, "no such kernel")

        return tf.square(points), gradient

    with pytest.raises(error):
        gives_gradient(function, tf.ones([2, 2]))
