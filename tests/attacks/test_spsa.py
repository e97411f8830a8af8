"""SPSA: estimates of gradients from logits alone, and Adam's steps along them."""

import numpy as np
import pytest
import tensorflow as tf

from mma_tf.attacks import SPSA, search
from mma_tf.attacks.iterative import Problem
from mma_tf.noise import seeds_of

NUM_PIXELS = 16


def problem_of(images, *, eps=0.1):
    number = len(images)
    return Problem(
        images=tf.constant(images),
        labels=tf.zeros([number], tf.int32),
        targets=tf.ones([number], tf.int32),
        eps=tf.fill([number], tf.constant(eps, images.dtype)),
        seeds=seeds_of(0, tf.range(number)),
    )


@pytest.fixture
def slopes():
    return np.random.default_rng(0).normal(size=NUM_PIXELS)


def linear(slopes):
    def logits_fn(images):
        score = tf.linalg.matvec(images, slopes)
        return tf.stack([0 * score, score], axis=1)

    return logits_fn


def estimate(attack, logits_fn, problem):
    state = attack.start(problem)._replace(points=problem.images)
    return tf.function(attack._estimate)(logits_fn, problem, state).numpy()


def cosines(estimates, slopes):
    lengths = np.linalg.norm(estimates, axis=1) * np.linalg.norm(slopes)
    return estimates @ slopes / lengths


def test_more_samples_point_closer_to_the_gradient(slopes):
    problem = problem_of(np.full([12, NUM_PIXELS], 0.5))
    found = [
        np.mean(cosines(estimate(SPSA("linf", 1, n), linear(slopes), problem), slopes))
        for n in (1, 16, 512)
    ]
    assert found[0] < found[1] < found[2]
    assert found[2] > 0.97
    # n samples in d dimensions: about sqrt(n / (n + d)).
    np.testing.assert_allclose(found[1], np.sqrt(16 / (16 + NUM_PIXELS)), atol=0.1)


def test_the_estimate_has_the_gradients_length_too(slopes):
    problem = problem_of(np.full([12, NUM_PIXELS], 0.5))
    estimates = estimate(SPSA("linf", 1, 512), linear(slopes), problem)
    np.testing.assert_allclose(np.mean(estimates, axis=0), slopes, atol=0.3)


def test_one_sample_measures_the_slope_along_its_own_signs(slopes):
    problem = problem_of(np.full([3, NUM_PIXELS], 0.5))
    estimates = estimate(SPSA("linf", 1, 1), linear(slopes), problem)
    signs = np.sign(estimates * np.sign(estimates[:, :1]))
    expected = (signs @ slopes)[:, np.newaxis] * signs
    np.testing.assert_allclose(estimates, expected, rtol=1e-6)
    # Each example draws its own.
    assert np.any(signs[0] != signs[1])


def test_each_step_draws_anew(slopes):
    problem = problem_of(np.full([2, NUM_PIXELS], 0.5))
    attack = SPSA("linf", 5, 4)
    state = attack.start(problem)._replace(points=problem.images)
    later = state._replace(iteration=state.iteration + 1)
    first, second = (
        attack._estimate(linear(slopes), problem, s) for s in (state, later)
    )
    assert np.all(np.any(first != second, axis=1))


def test_the_first_step_moves_every_pixel_by_the_learning_rate(slopes):
    problem = problem_of(np.full([2, NUM_PIXELS], 0.5))
    attack = SPSA("linf", 5, 128, learning_rate=0.02)
    state = attack.start(problem)._replace(points=problem.images)
    moved = attack.step(linear(slopes), problem, state).points - 0.5
    np.testing.assert_allclose(np.abs(moved), 0.02, rtol=1e-4)
    gradients = attack._estimate(linear(slopes), problem, state)
    np.testing.assert_array_equal(np.sign(moved), np.sign(gradients))


def test_it_costs_as_many_forward_passes_as_it_says():
    images = []

    def logits_fn(points):
        images.append(len(points))
        score = tf.reduce_sum(points, axis=1)
        return tf.stack([0 * score + 99, score], axis=1)

    attack = SPSA("linf", num_steps=2, num_samples=24)
    problem = problem_of(np.full([3, NUM_PIXELS], 0.5))
    attack.step(logits_fn, problem, attack.start(problem))
    assert sum(images) == 3 * attack.forward_passes == 3 * 49


def test_the_published_samples_are_pairs_of_points():
    # advertorch, by which Ding et al. made their figures: f(x + d v) - f(x - d v) for
    # each of nb_sample = 2,048.
    assert SPSA("linf").forward_passes == 2 * 2048 + 1


@pytest.mark.parametrize("num_samples", [0, -1])
def test_an_estimate_needs_a_sample(num_samples):
    with pytest.raises(ValueError, match=rf">= 1.*num_samples={num_samples}"):
        SPSA("linf", num_samples=num_samples)


def test_flat_spots_do_not_stop_it():
    # All logits equal at and around the start: no slope, and no step of 0 / 0.
    def logits_fn(points):
        score = tf.nn.relu(tf.reduce_sum(points, axis=1) - 99)
        return tf.stack([0 * score + 1, score], axis=1)

    found = search(
        SPSA("linf", 3, 4), logits_fn, np.full([2, NUM_PIXELS], 0.5), [0, 0], eps=0.1
    )
    assert np.all(np.isinf(found.size))
    assert np.all(np.isfinite(found.images))
