"""Margins and robust accuracy: closed forms, bounds, what batches must not change."""

import dataclasses
import itertools

import numpy as np
import pytest
import tensorflow as tf

from mma_tf import evaluation
from mma_tf.evaluation import Judgement, RobustnessMeter, an_pgd_margins
from mma_tf.models.inference import inference_logits_fn
from tests.classifiers import (
    hiding_logits_fn,
    linear_classifier,
    linear_margins,
    random_examples,
    small_network,
)

NORMS = ("linf", "l2")
# For the linear classifier: no way of such a length leaves the box.
EPS = {"linf": 0.04, "l2": 0.1}
MAX_EPS = {"linf": 0.08, "l2": 0.2}
# For the network, whose margins are longer.
NETWORK_EPS = {"linf": 0.3, "l2": 1.5}


def linear_problem(*, num_classes, num_examples=40, wrong=0):
    """A linear classifier and images away from the box's edges, some labelled wrong."""
    rng = np.random.default_rng(3)
    weights, biases, logits_fn = linear_classifier(rng, num_classes=num_classes)
    images = rng.uniform(0.2, 0.8, size=(num_examples, 12))
    labels = np.argmax(images @ weights + biases, axis=1)
    labels[:wrong] = (labels[:wrong] + 1) % num_classes
    exact = {n: linear_margins(weights, biases, images, labels, n) for n in NORMS}
    return logits_fn, images, labels, exact


def margins(logits_fn, images, labels, norm, *, eps=None, **changes):
    eps = EPS[norm] if eps is None else eps
    settings = {
        "eps": eps,
        "step_size": eps / 4,
        "num_steps": 20,
        "max_eps": MAX_EPS[norm],
        "num_search_steps": 12,
    }
    found = an_pgd_margins(
        logits_fn, images, labels, norm=norm, **{**settings, **changes}
    )
    return type(found)(*(field.numpy() for field in found))


def judgement(norm="linf", *, eps=None, **changes):
    eps = EPS[norm] if eps is None else eps
    settings = {
        "eps": eps,
        "step_size": eps / 4,
        "num_steps": 20,
        "max_eps": MAX_EPS[norm],
        "num_search_steps": 12,
    }
    return Judgement(norm=norm, **{**settings, **changes})


@pytest.mark.parametrize("norm", NORMS)
def test_the_margin_of_a_linear_classifier_to_the_searchs_resolution(norm):
    # Of two classes: the steepest way is then the shortest.
    logits_fn, images, labels, exact = linear_problem(num_classes=2)
    found = margins(logits_fn, images, labels, norm, eps=MAX_EPS[norm])
    within = exact[norm] < MAX_EPS[norm]
    assert 10 < np.sum(within) < 40
    excess = (found.margin - exact[norm])[within]
    assert np.all(excess >= 0)
    resolution = MAX_EPS[norm] / 2**12
    # An l2 direction is that of the last iterate, near the steepest but not quite.
    assert np.all(excess <= resolution + (1e-3 if norm == "l2" else 1e-9))
    np.testing.assert_array_equal(found.found, within)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("num_steps", [0, 1, 10])
@pytest.mark.parametrize("eps_factor", [0.2, 1.0, 3.0])
def test_a_reported_margin_is_never_below_the_true_one(norm, num_steps, eps_factor):
    logits_fn, images, labels, exact = linear_problem(num_classes=4, wrong=5)
    eps = EPS[norm] * eps_factor
    for max_eps in (EPS[norm] / 2, MAX_EPS[norm]):
        found = margins(
            logits_fn,
            images,
            labels,
            norm,
            eps=eps,
            num_steps=num_steps,
            max_eps=max_eps,
        )
        assert np.all(found.margin[found.found] >= exact[norm][found.found] - 1e-12)
        np.testing.assert_array_equal(found.margin[~found.found], max_eps)
        assert np.all(found.margin <= max_eps)


@pytest.mark.parametrize("norm", NORMS)
def test_a_misclassified_example_has_margin_zero(norm):
    logits_fn, images, labels, _ = linear_problem(num_classes=4, wrong=7)
    found = margins(logits_fn, images, labels, norm)
    np.testing.assert_array_equal(found.correct, np.arange(40) >= 7)
    assert np.all(found.margin[:7] == 0)
    assert np.all(found.found[:7])
    assert not np.any(found.robust[:7])
    assert np.all(found.margin[7:] > 0)


@pytest.mark.parametrize("norm", NORMS)
def test_a_tie_is_an_error(norm):
    images = np.full((3, 12), 0.5)
    found = margins(lambda x: 0.0 * x[:, :2], images, np.zeros(3, int), norm)
    assert not np.any(found.correct)
    assert np.all(found.margin == 0)


@pytest.mark.parametrize("norm", NORMS)
def test_nothing_found_is_said_and_counts_as_max_eps(norm):
    _, images, labels, _ = linear_problem(num_classes=4)

    def constant(x):
        return tf.one_hot(labels, 4, dtype=x.dtype) + 0.0 * x[:, :4]

    found = margins(constant, images, labels, norm)
    assert np.all(found.margin == MAX_EPS[norm])
    assert not np.any(found.found)
    assert np.all(found.robust)


def test_an_error_beyond_max_eps_is_not_one_within_it():
    """The attack may look farther than the margins that are reported."""
    logits_fn, images, labels, exact = linear_problem(num_classes=2)
    settings = judgement(eps=0.3, max_eps=0.05, num_restarts=1)
    found = RobustnessMeter(logits_fn, settings).measure(images, labels)
    beyond = exact["linf"] > 0.05
    assert 0 < np.sum(beyond) < 40
    assert not np.all(found.robust[beyond])
    assert not np.any(found.found[beyond])
    assert found.summary()["above_max_eps"] == np.mean(beyond)


@pytest.mark.parametrize("norm", NORMS)
def test_where_a_margin_is_reported_there_is_a_misclassified_image(norm):
    """Counted by the classifier itself: it was asked about such an image."""
    network = small_network()
    images, labels = random_examples(np.random.default_rng(0), 12)
    labels = np.argmax(network(images), axis=1)
    nearest = np.full(12, np.inf)

    def watching(points):
        logits = network(points, training=False)

        def note(points, logits):
            deltas = (points - images).reshape(12, -1)
            order = {"linf": np.inf, "l2": 2}[norm]
            sizes = np.linalg.norm(deltas, order, axis=1)
            wrong = np.argmax(logits, axis=1) != labels
            in_box = np.all((points >= 0) & (points <= 1), axis=(1, 2, 3))
            sizes = np.where(wrong & in_box, sizes, np.inf)
            np.minimum(nearest, sizes, out=nearest)
            return np.float32(0)

        nothing = tf.numpy_function(note, [points, logits], tf.float32)
        return logits + tf.stop_gradient(tf.ensure_shape(nothing, []))

    found = margins(
        watching,
        images,
        labels,
        norm,
        eps=NETWORK_EPS[norm],
        max_eps=2 * NETWORK_EPS[norm],
    )
    assert np.any(found.found)
    assert np.all(nearest[found.found] <= found.margin[found.found] + 1e-6)


@pytest.mark.parametrize("norm", NORMS)
def test_more_bisections_never_lengthen_a_margin(norm):
    network = small_network()
    images, _ = random_examples(np.random.default_rng(0), 12)
    labels = np.argmax(network(images), axis=1)
    logits_fn = inference_logits_fn(network)
    longest = 2 * NETWORK_EPS[norm]
    results = [
        margins(logits_fn, images, labels, norm, num_search_steps=n, max_eps=longest)
        for n in (0, 1, 4, 8)
    ]
    for fewer, more in itertools.pairwise(results):
        assert np.all(more.margin <= fewer.margin)
        assert np.all(more.found >= fewer.found)
    assert np.any(results[-1].margin < results[1].margin)


@pytest.mark.parametrize("norm", NORMS)
def test_a_larger_max_eps_only_finds_more(norm):
    logits_fn, images, labels, exact = linear_problem(num_classes=2)
    eps = MAX_EPS[norm]
    near, far = (
        margins(logits_fn, images, labels, norm, eps=eps, max_eps=m)
        for m in (eps / 4, eps)
    )
    assert np.all(far.found >= near.found)
    assert np.sum(far.found) > np.sum(near.found)
    # What the shorter search could not find is farther than it looked.
    assert np.all(exact[norm][~near.found] > 0.99 * eps / 4)


@pytest.mark.parametrize("norm", NORMS)
def test_an_error_of_the_attack_bounds_the_margin_by_its_eps(norm):
    logits_fn, images, labels, exact = linear_problem(num_classes=4, wrong=3)
    settings = judgement(norm, num_restarts=1, num_search_steps=0)
    found = RobustnessMeter(logits_fn, settings).measure(images, labels)
    assert 0 < np.sum(found.robust) < 37
    assert np.all(found.margins[~found.robust] <= EPS[norm])
    assert np.all(found.found[~found.robust])
    assert np.all(found.robust[exact[norm] > EPS[norm]])


def test_an_example_with_a_margin_below_eps_is_not_robust_at_eps():
    """The line search can meet an error that PGD, at the ball's edge, has passed."""

    def shell(images):
        change = tf.reduce_max(tf.abs(images - 0.5), axis=1)
        wrong = (change > 0.12) & (change < 0.18)
        score = tf.where(wrong, -1.0, 1.0) + 0.0 * change
        return tf.stack([score, -score], axis=1) - 0.01 * images[:, :2]

    images = np.full((4, 12), 0.5, "float32")
    settings = judgement(eps=0.3, max_eps=0.3, num_steps=20)
    found = RobustnessMeter(shell, settings).measure(images, np.zeros(4, int))
    assert np.all(found.margins < 0.2)
    assert not np.any(found.robust)


@pytest.mark.parametrize("batch_size", [1, 3, 7, 250])
@pytest.mark.parametrize("norm", NORMS)
def test_the_batch_size_and_its_padding_change_nothing(norm, batch_size):
    logits_fn, images, labels, exact = linear_problem(
        num_classes=2, num_examples=7, wrong=2
    )
    settings = judgement(norm, eps=MAX_EPS[norm])
    meter = RobustnessMeter(logits_fn, settings, batch_size=batch_size)
    found = meter.measure(images, labels)
    assert found.num_examples == 7
    np.testing.assert_array_equal(found.correct, np.arange(7) >= 2)
    expected = np.minimum(exact[norm], MAX_EPS[norm])
    np.testing.assert_allclose(found.margins, expected, rtol=0, atol=2e-3)
    np.testing.assert_array_equal(found.found, exact[norm] < MAX_EPS[norm])
    np.testing.assert_array_equal(found.robust, exact[norm] > MAX_EPS[norm])


def test_all_batches_are_told_of_and_a_stop_is_passed_on():
    logits_fn, images, labels, _ = linear_problem(num_classes=2, num_examples=7)
    meter = RobustnessMeter(logits_fn, judgement(num_steps=1), batch_size=3)
    told = []
    meter.measure(images, labels, on_batch=lambda: told.append(1))
    assert len(told) == 3

    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        meter.measure(images, labels, on_batch=stop)


def test_the_same_seed_gives_the_same_result():
    logits_fn, images, labels, _ = linear_problem(num_classes=2)
    # Random directions, followed as they are.
    meter = RobustnessMeter(logits_fn, judgement(num_steps=0), batch_size=16)
    first, again, other = (meter.measure(images, labels, seed=s) for s in (0, 0, 1))
    np.testing.assert_array_equal(first.margins, again.margins)
    assert np.any(first.margins != other.margins)


def test_the_weights_are_those_at_the_time_of_measuring():
    network = small_network()
    images, _ = random_examples(np.random.default_rng(0), 10)
    labels = np.argmax(network(images), axis=1)
    meter = RobustnessMeter(inference_logits_fn(network), judgement(num_steps=1))
    assert meter.measure(images, labels).summary()["accuracy"] == 1.0
    kernel, bias = network.layers[-1].get_weights()
    network.layers[-1].set_weights([-kernel, -bias])
    assert meter.measure(images, labels).summary()["accuracy"] < 0.5


@pytest.mark.parametrize("norm", NORMS)
def test_further_restarts_never_raise_robust_accuracy_or_a_margin(norm):
    logits_fn, images, labels, _ = linear_problem(num_classes=4, wrong=5)
    # Without steps an attack is a random point: each new one may be an error.
    results = [
        RobustnessMeter(
            logits_fn,
            judgement(norm, eps=1.0, max_eps=1.0, num_steps=0, num_restarts=n),
        ).measure(images, labels)
        for n in (0, 1, 4)
    ]
    for few, more in itertools.pairwise(results):
        assert np.all(more.robust <= few.robust)
        assert np.all(more.margins <= few.margins)
        assert np.all(more.found >= few.found)
    accuracies = [found.summary()["robust_accuracy"] for found in results]
    assert 0 < accuracies[2] < accuracies[0] < results[0].summary()["accuracy"]


def test_the_summary_is_the_averages_in_plain_numbers():
    logits_fn, images, labels, _ = linear_problem(num_classes=2, wrong=10)
    found = RobustnessMeter(logits_fn, judgement()).measure(images, labels)
    assert found.summary() == {
        "accuracy": 0.75,
        "robust_accuracy": np.sum(found.robust) / 40,
        "average_margin": pytest.approx(np.sum(found.margins) / 40),
        "above_max_eps": np.sum(~found.found) / 40,
    }
    assert all(type(value) is float for value in found.summary().values())


def test_no_examples_is_an_error():
    meter = RobustnessMeter(lambda x: x, judgement())
    with pytest.raises(ValueError, match="at least one"):
        meter.measure(np.zeros((0, 12)), np.zeros(0, int))


def test_bytes_are_no_images():
    meter = RobustnessMeter(lambda x: x, judgement())
    with pytest.raises(TypeError, match="divide bytes by 255"):
        meter.measure(np.zeros((2, 12), "uint8"), np.zeros(2, int))


def test_steps_that_decay_are_those_of_every_run(monkeypatch):
    told = []
    for module in (evaluation.margins, evaluation.robustness):
        attack = module.pgd

        def spy(*args, attack=attack, **kwargs):
            told.append((kwargs["num_steps"], kwargs["step_decay"]))
            return attack(*args, **kwargs)

        monkeypatch.setattr(module, "pgd", spy)
    logits_fn, images, labels, _ = linear_problem(num_classes=2)
    for step_decay in (False, True):
        told.clear()
        judge = judgement(num_steps=3, num_restarts=2, step_decay=step_decay)
        RobustnessMeter(logits_fn, judge).measure(images, labels)
        assert told == [(3, step_decay)] * 5
        assert ("falling steps" in judge.describe()) is step_decay


def test_a_random_search_before_the_first_run_finds_what_gradients_hide():
    # More raised pixels than chance has.
    logits_fn = hiding_logits_fn(6.0)
    images, labels = np.zeros((4, 6, 6, 1), np.float32), np.zeros(4, int)
    attack = judgement(eps=0.3, step_size=1e-4, num_steps=5, max_eps=0.5)
    misled = RobustnessMeter(logits_fn, attack).measure(images, labels)
    assert np.all(misled.robust)
    attack = dataclasses.replace(attack, num_start_queries=20)
    found = RobustnessMeter(logits_fn, attack).measure(images, labels)
    assert not np.any(found.robust)
    assert np.all(found.margins < misled.margins)
    assert "the first from 20 random queries" in attack.describe()


def test_the_attack_is_told_in_words():
    words = judgement(num_restarts=3).describe()
    for part in ("PGD-20", "linf", "0.04", "0.01", "3 with CE", "3 with CW"):
        assert part in words
