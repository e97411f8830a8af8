"""The paper's statements about margins, on networks whose margins are known exactly.

Ding et al., ICLR 2020 (arXiv 1812.02637); docs/theory.md tells what each one says.
"""

import re
from typing import NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf

from mma_tf import MMAModel, losses
from mma_tf.attacks.an_pgd import an_pgd
from mma_tf.training import mma_model
from tests.classifiers import random_examples, small_network
from tests.theory import findings
from tests.theory.exact_margin import piecewise_linear_margin, smooth_margin
from tests.theory.networks import Network

BEST = findings.PLACES[0]


def no_error_in_the_ball(network, point, label, margin, order):
    rng = np.random.default_rng(0)
    tries = rng.uniform(-1, 1, size=(20_000, len(point)))
    sizes = np.linalg.norm(tries, order, axis=1, keepdims=True)
    tries *= rng.uniform(size=(20_000, 1)) * margin.size * (1 - 1e-9) / sizes
    return np.all(network.logit_margin(point + tries, label) < 0)


def test_the_exact_margin_of_smooth_networks_is_exact():
    for network, point, label, margin in findings.smooth_cases():
        assert abs(network.logit_margin(point + margin.delta, label)) < 1e-11
        assert np.linalg.norm(margin.delta) == margin.size
        assert no_error_in_the_ball(network, point, label, margin, 2)


@pytest.mark.parametrize(("norm", "order"), [("linf", np.inf), ("l2", 2)])
def test_the_exact_margin_of_piecewise_linear_networks_is_exact(norm, order):
    for network, point, label, margin in findings.piecewise_linear_cases(norm):
        assert abs(network.logit_margin(point + margin.delta, label)) < 1e-9
        assert no_error_in_the_ball(network, point, label, margin, order)


def test_the_keras_network_is_the_one_whose_margin_is_known():
    for network, point, _, _ in findings.smooth_cases()[::7]:
        logits = network.keras()(point[None])[0]
        np.testing.assert_allclose(logits, network.logits(point), rtol=1e-12)


def test_proposition_2_1_gradient_of_the_margin_in_every_weight():
    errors, multipliers = findings.proposition_2_1()
    assert np.all(multipliers > 0)
    assert np.all(errors < 1e-3)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_proposition_2_2_descent_raises_the_margin_of_piecewise_linear_networks(norm):
    assert np.all(findings.proposition_2_2(norm) > 0)


def test_theorem_2_1_a_step_at_the_nearest_error_raises_the_margin():
    assert np.all(findings.theorem_2_1()[BEST] > 0)


def test_theorem_2_1_a_step_elsewhere_need_not_and_never_raises_it_more():
    changes = findings.theorem_2_1()
    others = np.array([changes[place] for place in findings.PLACES[1:]])
    assert np.sum(others < 0) >= 5
    assert np.all(changes[BEST] >= np.max(others, axis=0))


def test_cross_entropy_is_the_softplus_of_the_soft_logit_margin():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(500, 7)) * 5
    labels = rng.integers(7, size=500)
    soft = losses.soft_logit_margin_loss(labels, logits).numpy()
    entropy = losses.cross_entropy(labels, logits).numpy()
    np.testing.assert_allclose(entropy, np.logaddexp(0, soft), rtol=1e-12, atol=1e-12)


def test_their_gradients_are_parallel():
    for network, point, label, margin in findings.smooth_cases()[::3]:
        at = point + 0.7 * margin.delta
        slopes = [
            findings.flat(findings.weight_gradient(network, at, label, loss))
            for loss in (losses.cross_entropy, losses.soft_logit_margin_loss)
        ]
        sizes = [np.linalg.norm(slope) for slope in slopes]
        assert slopes[0] @ slopes[1] == pytest.approx(sizes[0] * sizes[1], rel=1e-10)


def test_the_soft_logit_margin_is_between_the_logit_margin_and_log_more():
    rng = np.random.default_rng(1)
    for classes in (2, 3, 10):
        logits = rng.normal(size=(1000, classes)) * 3
        labels = rng.integers(classes, size=1000)
        hard = losses.logit_margin_loss(labels, logits).numpy()
        soft = losses.soft_logit_margin_loss(labels, logits).numpy()
        assert np.all(hard <= soft + 1e-12)
        assert np.all(soft <= hard + np.log(classes - 1) + 1e-12)
        assert np.all(soft[hard >= 0] >= 0)


def test_propositions_2_3_and_2_4_the_soft_margin_never_exceeds_the_margin():
    soft, hard = findings.propositions_2_3_and_2_4().T
    assert np.all(soft <= hard)
    assert np.any(soft < 0.99 * hard)


def test_theorem_3_1_fixed_eps_raises_a_bound_of_the_margin():
    balls = findings.theorem_3_1()
    assert all(ball.on_the_sphere for ball in balls)
    for ball in balls:
        assert ball.least == pytest.approx(ball.eps, abs=1e-6)
        if ball.eps == 1:
            assert ball.rho == pytest.approx(0, abs=1e-9)
        else:
            assert (ball.rho < 0) == (ball.eps < 1)


def test_theorem_3_1_a_step_at_the_largest_loss_raises_the_bound():
    balls = findings.theorem_3_1()
    # Below d eps* is a lower bound of d, beyond it an upper one.
    assert {ball.eps < 1 for ball in balls} == {True, False}
    assert all(ball.change > 0 for ball in balls)


def test_theorem_3_1_needs_the_largest_loss_to_be_on_the_sphere():
    # z_1 - z_0 = tanh(x) - tanh(3 (x - 1)) - 1.9 is largest near 0.3 and falls on.
    network = Network(
        (
            np.array([[1.0, 3.0]]),
            np.array([0.0, -3.0]),
            np.array([[0.0, 1.0], [0.0, -1.0]]),
            np.array([0.0, -1.9]),
        ),
        "tanh",
    )
    where = np.linspace(-1.5, 1.5, 300_001)[:, None]
    loss = network.logit_margin(where, 0)
    eps = 1.5
    rho, place = np.max(loss), abs(where[np.argmax(loss), 0])
    assert place < 0.5 * eps
    reached = np.min(np.abs(where[loss >= rho]))
    assert reached == pytest.approx(place)
    assert reached < eps


def test_with_two_nearest_errors_a_step_at_one_can_lower_the_margin():
    def ridge(shift):
        """Errors at -1 - shift and 1 - shift: one weight moves both edges."""
        return Network(
            (
                np.array([[4.0, 4.0]]),
                np.array([4.0, -4.0]) + 4.0 * shift,
                np.array([[1.0, 0.0], [-1.0, 0.0]]),
                np.array([-1.0, 0.0]),
            ),
            "tanh",
        )

    point = np.array([0.0])
    margin = smooth_margin(ridge(0.0), point, 0)
    other = point - margin.delta
    assert ridge(0.0).logit_margin(other, 0) == pytest.approx(0, abs=1e-9)

    def loss(shift):
        return ridge(shift).logit_margin(point + margin.delta, 0)

    gradient = (loss(1e-6) - loss(-1e-6)) / 2e-6
    step = -1e-3 * gradient
    assert loss(step) < loss(0.0)
    assert smooth_margin(ridge(step), point, 0).size < margin.size


class Step(NamedTuple):
    """One training step: what was found, what was applied, where it began."""

    model: MMAModel
    points: np.ndarray
    eps: np.ndarray
    change: list[np.ndarray]
    images: np.ndarray
    labels: np.ndarray


@pytest.fixture
def one_step(monkeypatch):
    """A step of SGD, rate 1, on a batch with wrong, hinged and active examples."""
    keras.config.set_dtype_policy("float64")
    keras.utils.set_random_seed(0)
    images, _ = random_examples(np.random.default_rng(0), 12)
    images = images.astype("float64")
    network = small_network()
    last = network.layers[-1]
    last.set_weights([20 * weight for weight in last.get_weights()])
    labels = np.argmax(network(images), axis=1)
    labels[:3] = (labels[:3] + 1) % 3
    attack = {"norm": "linf", "initial_eps": 0.02, "num_steps": 5}
    _, lengths = an_pgd(
        network, images, labels, max_eps=0.5, num_search_steps=12, **attack
    )
    found = []

    def spy(*args, **kwargs):
        found.append(real(*args, **kwargs))
        return found[-1]

    real = mma_model.an_pgd
    monkeypatch.setattr(mma_model, "an_pgd", spy)
    model = MMAModel(
        network,
        norm="linf",
        d_max=float(np.median(lengths[3:])),
        min_eps=0.02,
        attack_steps=5,
        search_steps=12,
        margin_memory=False,
        clean_loss_coeff=0.4,
    )
    model.compile(keras.optimizers.SGD(1.0), run_eagerly=True)
    before = [w.numpy() for w in network.trainable_variables]
    model.fit(images, labels, batch_size=12, shuffle=False, verbose=0)
    after = [w.numpy() for w in network.trainable_variables]
    ((points, eps),) = found
    for weight, value in zip(network.trainable_variables, before, strict=True):
        weight.assign(value)
    change = [b - a for a, b in zip(after, before, strict=True)]
    return Step(model, points.numpy(), eps.numpy(), change, images, labels)


def test_the_training_step_descends_the_mma_objective(one_step):
    model, points, eps, change, images, labels = one_step
    classifier, weights = model.classifier, model.classifier.trainable_variables
    soft = losses.soft_logit_margin_loss(labels, classifier(images)).numpy()
    right = soft < 0
    active = right & (eps < model.d_max)
    hinged = right & ~active
    assert np.sum(~right) >= 2
    assert np.sum(active) >= 2
    assert np.sum(hinged) >= 2

    def objective():
        # As the paper writes it: sums over sets, divided by the whole batch.
        clean = losses.cross_entropy(labels, classifier(images)).numpy()
        moved = losses.cross_entropy(labels, classifier(points)).numpy()
        mma = (np.sum(moved[active]) + np.sum(clean[~right])) / len(labels)
        return 0.4 * np.mean(clean) + 0.6 * mma

    rng = np.random.default_rng(0)
    for _ in range(10):
        direction = [rng.normal(size=weight.shape) for weight in weights]
        direction = findings.along(direction, 1.0)
        kept, ends = [w.numpy() for w in weights], []
        for sign in (1, -1):
            for weight, value, way in zip(weights, kept, direction, strict=True):
                weight.assign(value + sign * 1e-5 * way)
            ends.append(objective())
        for weight, value in zip(weights, kept, strict=True):
            weight.assign(value)
        slope = (ends[0] - ends[1]) / 2e-5
        applied = findings.flat(change) @ findings.flat(direction)
        assert applied == pytest.approx(slope, rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_margin_that_is_reported_is_never_below_the_exact_one(norm):
    lengths = findings.an_pgd_against_exact(norm)
    assert all(each.reported >= 1 - 1e-9 for each in lengths)
    assert np.median([each.reported for each in lengths]) < 1.02


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_training_is_on_the_zero_of_the_soft_margin_loss(norm):
    lengths = findings.an_pgd_against_exact(norm)
    found = [each for each in lengths if each.trained_on > each.resolution]
    assert len(found) >= 4
    for each in found:
        before, after = each.soft_loss
        assert before < 0 < after
        assert each.trained_on <= each.reported + each.resolution


def test_the_document_holds_these_findings():
    text = findings.DOCUMENT.read_text("utf-8")
    printed = re.findall(r"^\| (.*?) \| (\d+) of (\d+) \|", text, re.M)
    rows = [(r.statement, str(r.held), str(r.cases)) for r in findings.findings()]
    assert printed == rows


def test_a_relu_and_a_smooth_margin_agree_where_both_are_linear():
    # tanh of little arguments is linear; relu of large ones is.
    rng = np.random.default_rng(0)
    kernel, outer = rng.normal(size=(3, 4)), rng.normal(size=(4, 3))
    small = Network((1e-4 * kernel, np.zeros(4), 1e4 * outer, np.zeros(3)), "tanh")
    large = Network(
        (kernel, 100 + np.zeros(4), outer, -100 * outer.sum(axis=0)), "relu"
    )
    point = np.array([0.3, -0.2, 0.4])
    label = int(np.argmax(large.logits(point)))
    first = smooth_margin(small, point, label)
    second = piecewise_linear_margin(large, point, label, "l2")
    assert first.size == pytest.approx(second.size, rel=1e-5)
    np.testing.assert_allclose(first.delta, second.delta, rtol=1e-4, atol=1e-6)


def test_tf_is_in_float64_here():
    network, point, label, _ = findings.smooth_cases()[0]
    gradient = findings.weight_gradient(network, point, label)
    assert all(tf.as_dtype(g.dtype) == tf.float64 for g in gradient)
