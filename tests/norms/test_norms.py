"""The geometry of balls in the box."""

import numpy as np
import pytest
import tensorflow as tf

from mma_tf.norms import get_norm

ORDER = {"linf": np.inf, "l2": 2}


def sizes(deltas, norm):
    flat = np.asarray(deltas).reshape(len(deltas), -1)
    return np.linalg.norm(flat, ORDER[norm], axis=1)


@pytest.fixture
def images():
    return tf.constant(np.random.default_rng(0).uniform(size=(20, 5, 4, 3)))


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_size_is_the_norm(norm, images):
    deltas = images - 0.5
    np.testing.assert_allclose(get_norm(norm).size(deltas), sizes(deltas, norm))


def test_l2_size_of_values_whose_squares_vanish():
    deltas = tf.constant([[3e-30, 4e-30], [0.0, 0.0]], tf.float32)
    np.testing.assert_allclose(get_norm("l2").size(deltas), [5e-30, 0], rtol=1e-5)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("scale", [1.0, 1e-25])
def test_ascent_direction_is_the_best_unit_step(norm, scale):
    rng = np.random.default_rng(1)
    gradients = rng.normal(size=(8, 6)).astype("float32") * np.float32(scale)
    steps = get_norm(norm).ascent_direction(tf.constant(gradients)).numpy()
    np.testing.assert_allclose(sizes(steps, norm), 1.0, rtol=1e-5)
    dual = {"linf": 1, "l2": 2}[norm]
    wide = gradients.astype("float64")
    np.testing.assert_allclose(
        np.sum(steps * wide, axis=1), np.linalg.norm(wide, dual, axis=1), rtol=1e-5
    )


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_ascent_direction_of_no_gradient_is_no_step(norm):
    steps = get_norm(norm).ascent_direction(tf.zeros([2, 3]))
    np.testing.assert_array_equal(steps, np.zeros([2, 3]))


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_projection_never_leaves_ball_or_box_and_keeps_what_is_inside(norm, images):
    rng = np.random.default_rng(2)
    eps = rng.uniform(0, 0.5, size=20)
    far = images + rng.normal(size=images.shape)
    inside = get_norm(norm).project(far, images, tf.constant(eps))
    assert np.all(sizes(inside - images, norm) <= eps + 1e-12)
    assert np.min(inside) >= 0
    assert np.max(inside) <= 1
    again = get_norm(norm).project(inside, images, tf.constant(eps))
    np.testing.assert_allclose(again, inside, rtol=0, atol=1e-12)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_random_start_is_in_ball_and_box_and_depends_on_the_seed_alone(norm, images):
    eps = tf.constant(np.linspace(0, 1, 20))
    geometry = get_norm(norm)
    start = geometry.random_start(images, eps, 3)
    assert np.all(sizes(start - images, norm) <= eps.numpy() + 1e-12)
    assert np.min(start) >= 0
    assert np.max(start) <= 1
    np.testing.assert_array_equal(start, geometry.random_start(images, eps, 3))
    assert np.any(start != geometry.random_start(images, eps, 4))


def test_linf_random_start_is_uniform_in_the_ball():
    images = tf.fill([50, 400], 0.5)
    start = get_norm("linf").random_start(images, tf.fill([50], 0.2), 0)
    counts, _ = np.histogram(start - images, bins=8, range=(-0.2, 0.2))
    np.testing.assert_allclose(counts, 2500, rtol=0.1)


def test_unknown_norm_is_named():
    with pytest.raises(ValueError, match=r"norm='l1'"):
        get_norm("l1")
