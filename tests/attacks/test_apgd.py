"""APGD: its step sizes, its memory of the best point, and what it climbs."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from mma_tf.attacks import APGD, PGD, search
from mma_tf.attacks.iterative import Problem
from mma_tf.losses.registry import get_attack_loss
from mma_tf.noise import seeds_of
from tests.norms.test_norms import sizes

NORMS = ("linf", "l2")
EPS = 0.1


def problem_of(images, *, eps=EPS):
    number = len(images)
    return Problem(
        images=tf.constant(images),
        labels=tf.zeros([number], tf.int32),
        targets=tf.ones([number], tf.int32),
        eps=tf.fill([number], tf.constant(eps, tf.float64)),
        seeds=seeds_of(0, tf.range(number)),
    )


def trajectory(attack, logits_fn, problem):
    """Returns the states from the start to the end."""
    states = [attack.start(problem)]
    step = tf.function(lambda state: attack.step(logits_fn, problem, state))
    for _ in range(attack.num_iterations):
        states.append(step(states[-1]))
    return states


def halved_after(states):
    """Returns the numbers of the steps, counted from 1, after which it was halved."""
    step_sizes = [float(state.step_size[0]) for state in states]
    # The first evaluation is of the start, before any step.
    return [
        number - 1
        for number, (before, after) in enumerate(itertools.pairwise(step_sizes), 1)
        if after != before
    ]


def constant(images):
    # A gradient of zero, which is not none.
    zeros = 0 * tf.reduce_sum(images, axis=1)
    return tf.stack([zeros + 1, zeros, zeros - 1, zeros - 2], axis=1)


def steady(images):
    """Rises along a direction for far longer than the ball is wide."""
    score = tf.reduce_sum(images, axis=1)
    return tf.stack([score * 0 + 99, score, -score, 0 * score], axis=1)


@pytest.mark.parametrize(
    ("num_steps", "checkpoints"),
    [
        # ceil(p_j 100) of the paper: p = 0, 0.22, then 0.03 less each, at least 0.06.
        (100, [22, 41, 57, 70, 80, 87, 93, 99]),
        (50, [11, 21, 30, 38, 45]),
        (10, [2, 3, 4, 5, 6, 7, 8, 9, 10]),
        (1, [1]),
    ],
)
def test_a_constant_loss_halves_the_step_at_every_checkpoint(num_steps, checkpoints):
    if num_steps == 50:
        # Lengths in whole steps: 11, then one less each, at least 3.
        checkpoints = list(itertools.accumulate([11, 10, 9, 8, 7]))
    attack = APGD("linf", num_steps=num_steps)
    images = np.full([1, 5], 0.5)
    states = trajectory(attack, constant, problem_of(images))
    assert halved_after(states) == checkpoints
    np.testing.assert_allclose(states[0].step_size, 2 * EPS)
    np.testing.assert_allclose(states[-1].step_size, 2 * EPS / 2 ** len(checkpoints))


def test_checkpoints_are_the_papers():
    shares = [0.0, 0.22]
    while shares[-1] < 1:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
    # Rounded, for 0.41 may be 0.41000000000000003.
    expected = [int(np.ceil(round(100 * share, 6))) for share in shares]
    assert expected == [0, 22, 41, 57, 70, 80, 87, 93, 99, 105]
    states = trajectory(APGD("l2"), constant, problem_of(np.full([1, 5], 0.5)))
    assert halved_after(states) == [at for at in expected if 0 < at <= 100]


@pytest.mark.parametrize("norm", NORMS)
def test_a_loss_that_rises_at_every_step_keeps_the_step_size(norm):
    # Each evaluation adds to the loss, wherever the points are.
    clock = tf.Variable(0.0, dtype=tf.float64)

    def rising(images):
        clock.assign_add(10.0)
        return steady(images) + tf.stack([0.0, clock, 0.0, 0.0])

    attack = APGD(norm, num_steps=30, loss="logit_margin")
    states = trajectory(attack, rising, problem_of(np.full([1, 5], 0.5)))
    assert halved_after(states) == []


def test_after_a_halving_it_goes_on_from_the_best_point():
    # A narrow peak of the loss, over which steps of 2 eps jump.
    def peak(images):
        score = -tf.abs(tf.reduce_sum(images, axis=1) - 2.53)
        return tf.stack([0 * score, score - 1, score - 2, score - 3], axis=1)

    states = trajectory(
        APGD("l2", num_steps=50), peak, problem_of(np.full([1, 5], 0.5))
    )
    halved = halved_after(states)
    assert halved
    for at in halved:
        # `previous` is where the step started.
        np.testing.assert_array_equal(
            states[at + 1].previous, states[at + 1].best_points
        )
    score = np.sum(states[-1].best_points)
    np.testing.assert_allclose(score, 2.53, atol=1e-3)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("loss", ["cross_entropy", "dlr", "targeted_dlr"])
def test_the_best_loss_never_falls_and_is_that_of_the_best_point(norm, loss):
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(8, 10)), rng.normal(size=(10, 5))

    def logits_fn(images):
        return tf.matmul(tf.tanh(tf.matmul(images - 0.5, first)), second)

    images = rng.uniform(size=(6, 8))
    problem = problem_of(images, eps=0.3)
    attack = APGD(norm, num_steps=20, loss=loss)
    states = trajectory(attack, logits_fn, problem)
    for before, after in itertools.pairwise(states):
        assert np.all(after.best_loss >= before.best_loss)
        assert np.all(sizes(after.points - images, norm) <= 0.3 + 1e-12)
        assert np.all((after.points >= 0) & (after.points <= 1))
    values = get_attack_loss(loss)(
        problem.labels, logits_fn(states[-1].best_points), problem.targets
    )
    np.testing.assert_allclose(values, states[-1].best_loss, rtol=1e-9)
    assert np.all(states[-1].best_loss > states[1].best_loss)


@pytest.mark.parametrize("norm", NORMS)
def test_starts_reach_the_balls_edge(norm):
    images = np.full([6, 8], 0.5)
    points = APGD(norm).start(problem_of(images)).points
    np.testing.assert_allclose(sizes(points - images, norm), EPS)


def test_the_first_step_has_no_momentum_and_the_second_has_a_quarter():
    attack = APGD("linf", num_steps=100)
    images = np.full([1, 5], 0.5)
    # A step size of 2 eps carries every pixel to the ball's upper edge.
    states = trajectory(attack, steady, problem_of(images))
    np.testing.assert_allclose(states[1].points, 0.5 + EPS)
    # z = edge; 0.75 (z - x1) + 0.25 (x1 - x0) with x1 at the edge leads outside.
    np.testing.assert_allclose(states[2].points, 0.5 + EPS)
    # In a loss that turns round, the momentum pulls a quarter of the way on.
    turned = attack.step(lambda x: steady(1 - x), problem_of(images), states[1])
    start = states[0].points.numpy()
    expected = (0.5 + EPS) + 0.75 * (-2 * EPS) + 0.25 * ((0.5 + EPS) - start)
    np.testing.assert_allclose(
        turned.points, np.clip(expected, 0.5 - EPS, 0.5 + EPS), rtol=1e-9
    )


def test_losses_that_ignore_the_logits_scale_break_a_classifier_that_hides_gradients():
    # Logits a thousandfold: the softmax is 1 in float32 and cross entropy has no slope.
    rng = np.random.default_rng(2)
    weights = rng.normal(size=(12, 4)).astype("float32")

    def logits_fn(images):
        return 1e4 * tf.matmul(images - 0.5, weights)

    images = rng.uniform(0.3, 0.7, size=(20, 12)).astype("float32")
    labels = np.argmax(logits_fn(images), axis=1)
    broken = {
        attack.loss: np.mean(
            np.isfinite(search(attack, logits_fn, images, labels, eps=0.15).size)
        )
        for attack in (
            PGD("linf", num_steps=20),
            APGD("linf", num_steps=20, loss="dlr"),
            APGD("linf", num_steps=20, loss="targeted_dlr"),
        )
    }
    assert broken["dlr"] > broken["cross_entropy"]
    assert broken["targeted_dlr"] > broken["cross_entropy"]
