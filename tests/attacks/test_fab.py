"""FAB: one projection on linear classifiers, the way back, and curved boundaries."""

import numpy as np
import pytest
import tensorflow as tf

from mma_tf.attacks import FAB, search
from mma_tf.attacks.iterative import Problem
from mma_tf.noise import seeds_of
from tests.norms.test_norms import sizes

NORMS = ("linf", "l2")


def problem_of(images):
    number = len(images)
    return Problem(
        images=tf.constant(images),
        labels=tf.zeros([number], tf.int32),
        targets=tf.ones([number], tf.int32),
        eps=tf.zeros([number], tf.float64),
        seeds=seeds_of(0, tf.range(number)),
    )


def two_classes(images):
    """The boundary is where the mean of the pixels is 0.7."""
    score = tf.reduce_mean(images, axis=1) - 0.7
    return tf.stack([-score, score], axis=1)


@pytest.mark.parametrize("norm", NORMS)
def test_the_first_step_ends_a_twentieth_beyond_the_boundary(norm):
    problem = problem_of(np.full([1, 8], 0.5))
    attack = FAB(norm)
    state = attack.step(two_classes, problem, attack.start(problem))
    np.testing.assert_allclose(state.points, 0.5 + 1.05 * 0.2)
    assert int(state.iteration[0]) == 1


@pytest.mark.parametrize("norm", NORMS)
def test_from_an_error_it_goes_back_by_a_tenth_and_then_on(norm):
    problem = problem_of(np.full([1, 8], 0.5))
    attack = FAB(norm)
    over = attack.step(two_classes, problem, attack.start(problem))
    back = attack.step(two_classes, problem, over)
    np.testing.assert_allclose(back.points, 0.5 + 0.9 * 1.05 * 0.2)
    np.testing.assert_allclose(back.adversarial, over.points)
    np.testing.assert_allclose(back.size, sizes(over.points - problem.images, norm))
    # Going back is no projection and not counted as one.
    np.testing.assert_array_equal(back.iteration, over.iteration)
    on = attack.step(two_classes, problem, back)
    assert np.all(on.points > 0.7)
    np.testing.assert_array_equal(on.iteration, back.iteration + 1)
    # The boundary is on the line, so that going on cannot be nearer than it.
    assert np.all(on.points - 0.5 >= 0.2)


@pytest.mark.parametrize("norm", NORMS)
def test_it_nears_a_linear_boundary_step_by_step(norm):
    images = np.full([1, 8], 0.5)
    exact = {"linf": 0.2, "l2": 0.2 * np.sqrt(8)}[norm]
    found = [
        float(search(FAB(norm, num_steps=n), two_classes, images, [0]).size[0])
        for n in (1, 3, 10, 30)
    ]
    assert np.all(np.diff(found) <= 0)
    assert found[-1] >= exact
    np.testing.assert_allclose(found[-1], exact, rtol=0.01)


def test_it_finds_the_nearest_point_of_a_sphere():
    # Class 1 inside a ball around (0.8, ..., 0.8), seen from elsewhere.
    def logits_fn(images):
        distance = tf.norm(images - 0.8, axis=1)
        return tf.stack([distance, 0 * distance + 0.3], axis=1)

    images = np.random.default_rng(0).uniform(0.1, 0.5, size=(5, 6))
    exact = np.linalg.norm(images - 0.8, axis=1) - 0.3
    found = search(FAB("l2", num_steps=40), logits_fn, images, [0] * 5)
    assert np.all(found.size >= exact - 1e-6)
    np.testing.assert_allclose(found.size, exact, rtol=0.01)


def test_targets_are_the_classes_whose_boundary_is_sought():
    # Class 1 needs 0.3 of the first pixel, class 2 needs 0.1 of the second.
    def logits_fn(images):
        zeros = 0 * images[:, 0]
        return tf.stack([zeros, images[:, 0] - 0.8, images[:, 1] - 0.6], axis=1)

    images = np.full([2, 2], 0.5)
    found = search(FAB("linf", num_steps=20), logits_fn, images, [0, 0], targets=[1, 2])
    np.testing.assert_allclose(found.size, [0.3, 0.1], rtol=0.01)
    likeliest = search(FAB("linf", num_steps=20), logits_fn, images[:1], [0])
    np.testing.assert_allclose(likeliest.size, [0.1], rtol=0.01)
