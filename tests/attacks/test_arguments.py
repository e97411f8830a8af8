"""What attacks and losses take as images, labels and radii, and what they refuse."""

import numpy as np
import pytest
import tensorflow as tf

from mma_tf import losses
from mma_tf.attacks import APGD, FAB, AnPGD, an_pgd, pgd, search
from mma_tf.attacks.arguments import as_radii
from mma_tf.attacks.iterative import is_error
from mma_tf.evaluation import an_pgd_margins
from mma_tf.norms.registry import get_norm
from tests.classifiers import linear_classifier, linear_margins

NUM_CLASSES = 4


@pytest.fixture(scope="module")
def problem():
    """A linear classifier, as many images as classes, its labels and exact margins."""
    rng = np.random.default_rng(0)
    weights, biases, logits_fn = linear_classifier(
        rng, num_pixels=16, num_classes=NUM_CLASSES
    )
    images = rng.uniform(0.3, 0.7, size=[NUM_CLASSES, 16])
    labels = np.argmax(logits_fn(images), axis=1)
    margins = linear_margins(weights, biases, images, labels, "linf")
    return logits_fn, images, labels, margins


def run_pgd(logits_fn, images, labels, loss=losses.logit_margin_loss):
    return pgd(
        logits_fn,
        images,
        labels,
        norm="linf",
        eps=0.05,
        num_steps=8,
        step_size=0.02,
        loss=loss,
    )


def run_an_pgd(*problem):
    lengths = {"initial_eps": 0.05, "max_eps": 0.3}
    return an_pgd(*problem, norm="linf", num_steps=8, **lengths)[1]


def run_margins(*problem):
    lengths = {"eps": 0.05, "max_eps": 0.3, "step_size": 0.02}
    return an_pgd_margins(*problem, norm="linf", num_steps=8, **lengths).margin


def run_apgd(*problem):
    return search(APGD("linf", 8), *problem, eps=0.05).images


def run_fab(*problem):
    return search(FAB("linf", 8), *problem).size


ATTACKS = pytest.mark.parametrize(
    "attack", [run_pgd, run_an_pgd, run_margins, run_apgd, run_fab]
)


@ATTACKS
def test_labels_in_a_column_are_the_same_labels(attack, problem):
    logits_fn, images, labels, _ = problem
    expected = attack(logits_fn, images, labels)
    found = attack(logits_fn, images, labels[:, np.newaxis])
    np.testing.assert_array_equal(found, expected)


@ATTACKS
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        # As many images as classes: the shapes would fit.
        (lambda labels: np.eye(NUM_CLASSES, dtype=int)[labels], ValueError, "argmax"),
        (lambda labels: labels + 0.7, TypeError, "whole numbers"),
        (lambda labels: labels + NUM_CLASSES, ValueError, "from 0 to 3"),
        (lambda labels: labels - NUM_CLASSES, ValueError, "from 0 to 3"),
    ],
)
def test_other_labels_are_refused(attack, change, error, message, problem):
    logits_fn, images, labels, _ = problem
    with pytest.raises(error, match=rf"`labels`.*{message}"):
        attack(logits_fn, images, change(labels))


@ATTACKS
@pytest.mark.parametrize(
    "change",
    [lambda images: 255 * images, lambda images: 2 * images - 1, lambda i: i * np.nan],
)
def test_other_pixels_are_refused(attack, change, problem):
    logits_fn, images, labels, _ = problem
    with pytest.raises(ValueError, match=r"`images`: expected pixels in \[0, 1\]"):
        attack(logits_fn, change(images), labels)


@pytest.mark.parametrize(
    "loss",
    [
        losses.cross_entropy,
        losses.logit_margin_loss,
        losses.soft_logit_margin_loss,
        losses.carlini_wagner_loss,
        losses.dlr_loss,
    ],
)
@pytest.mark.parametrize("in_graph", [False, True])
def test_a_loss_does_not_mix_the_examples_of_a_batch(loss, in_graph, problem):
    logits_fn, images, labels, _ = problem
    logits = logits_fn(images)
    call = tf.function(loss) if in_graph else loss
    values = call(tf.constant(labels), logits)
    assert values.shape == [NUM_CLASSES]
    of_column = call(tf.constant(labels[:, np.newaxis]), logits)
    np.testing.assert_array_equal(of_column, values)
    with pytest.raises(ValueError, match="pass the argmax"):
        call(tf.constant(np.eye(NUM_CLASSES, dtype=int)[labels]), logits)


def test_a_ball_needs_a_radius(problem):
    with pytest.raises(ValueError, match=r"`eps`: expected the radius.*APGD"):
        search(APGD("linf"), *problem[:3])
    with pytest.raises(ValueError, match=r"`eps`: expected the radius.*FAB"):
        search(FAB("linf"), *problem[:3], stop_in_ball=True)


def test_the_nearest_error_is_found_without_a_radius(problem):
    *arguments, margins = problem
    found = search(AnPGD("linf", num_steps=20), *arguments)
    np.testing.assert_allclose(found.size, margins, rtol=0.02)


@pytest.mark.parametrize("in_graph", [False, True])
def test_a_logit_that_is_no_number_is_an_error_wherever_it_is(in_graph):
    nan = float("nan")
    logits = tf.constant(
        [[3.0, 1.0, 2.0], [3.0, nan, 2.0], [nan, 1.0, 2.0], [3.0, 3.0, 2.0]]
    )
    call = tf.function(is_error) if in_graph else is_error
    found = call(tf.zeros([4], tf.int32), logits)
    np.testing.assert_array_equal(found, [False, True, True, True])


def test_a_length_that_is_not_allowed_is_the_one_that_is_named():
    images = tf.fill([2, 3, 3, 1], 0.5)
    with pytest.raises(ValueError, match=r"Received: eps=-0\.1$"):
        as_radii("eps", np.array([0.5, -0.1]), images, norm=get_norm("linf"))


def test_a_search_of_margins_counts_no_number_as_an_error_too():
    def logits_fn(images):
        known = tf.constant([[2.0, 1.0, 0.0], [2.0, float("nan"), 1.0]])
        return known + 0 * tf.reduce_sum(images, axis=[1, 2, 3])[:, tf.newaxis]

    images, labels = np.full([2, 3, 3, 1], 0.5, np.float32), np.zeros(2, int)
    found = an_pgd_margins(
        logits_fn,
        images,
        labels,
        norm="linf",
        eps=0.1,
        step_size=0.05,
        num_steps=2,
        max_eps=0.2,
    )
    np.testing.assert_array_equal(found.correct, [True, False])
    np.testing.assert_array_equal(found.robust, [True, False])
    assert found.margin[1] == 0
