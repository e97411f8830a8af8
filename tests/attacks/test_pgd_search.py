"""PGD of evaluation: looks at every point on its way."""

import numpy as np
import pytest
import tensorflow as tf

from mma_tf.attacks import PGD, AnPGD, search
from mma_tf.attacks.iterative import Problem
from mma_tf.noise import seeds_of
from tests.norms.test_norms import sizes

NORMS = ("linf", "l2")


def uphill(images):
    """Class 0; class 1 gains along (1, ..., 1) / sqrt(n)."""
    score = tf.reduce_mean(images, axis=1)
    return tf.stack([0 * score + 9, score, score - 1], axis=1)


def problem_of(images, eps):
    number = len(images)
    return Problem(
        images=tf.constant(images),
        labels=tf.zeros([number], tf.int32),
        targets=tf.ones([number], tf.int32),
        eps=tf.constant(eps, tf.float64),
        seeds=seeds_of(0, tf.range(number)),
    )


@pytest.mark.parametrize("norm", NORMS)
def test_a_step_has_the_length_that_the_factor_says(norm):
    attack = PGD(norm, num_steps=10, step_size_factor=2.5)
    problem = problem_of(np.full([3, 8], 0.5), [0.1, 0.2, 0.3])
    # From the centre, for steps that start elsewhere may end at the ball's edge.
    state = attack.start(problem)._replace(points=problem.images)
    moved = attack.step(uphill, problem, state).points - problem.images
    np.testing.assert_allclose(sizes(moved, norm), 0.25 * problem.eps)
    assert np.all(moved > 0)


@pytest.mark.parametrize("norm", NORMS)
def test_the_last_point_is_the_best_of_the_ball_where_the_loss_is_linear(norm):
    attack = PGD(norm, num_steps=40, step_size_factor=20.0)
    images = np.full([3, 8], 0.5)
    problem = problem_of(images, [0.1, 0.2, 0.3])
    state = attack.start(problem)
    for _ in range(attack.num_iterations):
        state = attack.step(uphill, problem, state)
    pixel = problem.eps if norm == "linf" else problem.eps / np.sqrt(8)
    expected = np.repeat(pixel[:, np.newaxis], 8, axis=1)
    np.testing.assert_allclose(state.best_points - images, expected, rtol=1e-3)


def test_an_error_on_the_way_counts_though_the_last_point_is_none():
    # Class 1 in a band that the ascent crosses; beyond it class 0 again, whose loss
    # rises on towards class 2.
    def logits_fn(images):
        score = images[:, 0]
        band = tf.where(tf.abs(score - 0.5) < 0.1, 5.0, -50.0)
        return tf.stack([-score, tf.cast(band, score.dtype), score - 4], axis=1)

    images = np.zeros([4, 1])
    attack = PGD("linf", num_steps=40, step_size_factor=2.0)
    found = search(attack, logits_fn, images, [0] * 4, eps=1.0)
    assert np.any(np.isfinite(found.size))
    points = found.images.numpy()[np.isfinite(found.size)]
    assert np.all(np.abs(points - 0.5) < 0.1)


def test_stopped_early_it_returns_the_first_error_and_else_the_last():
    images = np.full([1, 4], 0.5)

    def logits_fn(points):
        score = tf.reduce_mean(points, axis=1)
        return tf.stack([0 * score + 0.6, score, 0 * score], axis=1)

    attack = PGD("linf", num_steps=50, step_size_factor=3.0)
    first, last = (
        search(attack, logits_fn, images, [0], eps=0.3, stop_in_ball=early)
        for early in (True, False)
    )
    assert 0.6 <= np.mean(first.images) < np.mean(last.images)
    np.testing.assert_allclose(last.images, 0.8)


@pytest.mark.parametrize("kind", [PGD, AnPGD])
def test_steps_that_lead_back_are_refused(kind):
    with pytest.raises(ValueError, match=r"step_size_factor=-1"):
        kind("linf", step_size_factor=-1.0)


def test_an_attack_without_steps_is_refused():
    images = np.full([2, 8], 0.5)
    with pytest.raises(ValueError, match=r"PGD\(.*num_steps=-1"):
        search(PGD("linf", num_steps=-1), lambda x: x, images, [0, 0], eps=0.1)
