"""FAB, FMN, DDN and AN-PGD: the shortest error of classifiers for which it is known."""

import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf

from mma_tf.attacks import DDN, FAB, FMN, AnPGD, search, shorten
from tests.classifiers import linear_classifier, linear_margins
from tests.norms.test_norms import sizes

NUM_CLASSES = 4
ATTACKS = [
    pytest.param(FAB("linf", num_steps=20), id="fab-linf"),
    pytest.param(FAB("l2", num_steps=20), id="fab-l2"),
    pytest.param(FMN("linf", num_steps=100, loss="target_difference"), id="fmn-linf"),
    pytest.param(FMN("l2", num_steps=100, loss="target_difference"), id="fmn-l2"),
    pytest.param(DDN(num_steps=100, loss="target_difference"), id="ddn-l2"),
    pytest.param(
        AnPGD("linf", num_steps=20, num_restarts=4, loss="target_difference"),
        id="an-pgd-linf",
    ),
    pytest.param(
        AnPGD("l2", num_steps=20, num_restarts=4, loss="target_difference"),
        id="an-pgd-l2",
    ),
]


def shortest_over_targets(attack, logits_fn, images, labels, *, eps=0.5):
    """Returns the distances and points of the nearest errors, of any target class."""

    @tf.function
    def attack_target(targets):
        found = search(attack, logits_fn, images, labels, eps=eps, targets=targets)
        return shorten(logits_fn, tf.constant(images), labels, found, norm=attack.norm)

    best_size = np.full(len(images), np.inf)
    best_points = images.copy()
    for shift in range(1, NUM_CLASSES):
        found = attack_target(tf.constant((labels + shift) % NUM_CLASSES, tf.int32))
        nearer = found.size.numpy() < best_size
        best_size[nearer] = found.size.numpy()[nearer]
        best_points[nearer] = found.images.numpy()[nearer]
    return best_size, best_points


def margin_in_box(weights, biases, image, label, norm):
    """Returns the shortest change in the box to the boundary of any other class."""
    lengths = []
    for other in set(range(NUM_CLASSES)) - {label}:
        normal = weights[:, other] - weights[:, label]
        gap = -(normal @ image + biases[other] - biases[label])
        if norm == "linf":
            # Unknowns: the change of each pixel, and its bound, which is made small.
            count = len(image)
            ones = np.ones([count, 1])
            program = scipy.optimize.linprog(
                np.append(np.zeros(count), 1.0),
                A_ub=np.block(
                    [
                        [np.eye(count), -ones],
                        [-np.eye(count), -ones],
                        [-normal[np.newaxis], np.zeros([1, 1])],
                    ]
                ),
                b_ub=np.append(np.zeros(2 * count), -gap),
                bounds=[(-x, 1 - x) for x in image] + [(0, None)],
            )
            if program.success:
                lengths.append(program.fun)
        else:
            # The nearest point is clip(image + t * normal) for some t >= 0.
            def step_at(t, normal=normal):
                return np.clip(image + t * normal, 0, 1) - image

            if normal @ step_at(1e6) < gap:
                continue
            low, high = 0.0, 1e6
            for _ in range(100):
                t = (low + high) / 2
                low, high = (t, high) if normal @ step_at(t) < gap else (low, t)
            lengths.append(np.linalg.norm(step_at(high)))
    return min(lengths)


@pytest.fixture(scope="module")
def inner():
    """Images far from the box's edges, and their margins."""
    rng = np.random.default_rng(0)
    weights, biases, logits_fn = linear_classifier(rng)
    images = rng.uniform(0.45, 0.55, size=(16, 12))
    labels = np.argmax(images @ weights + biases, axis=1)
    return (
        logits_fn,
        images,
        labels,
        {
            norm: linear_margins(weights, biases, images, labels, norm)
            for norm in ("linf", "l2")
        },
    )


@pytest.fixture(scope="module")
def at_edge():
    """Images half of whose pixels are black or white, and their margins in the box."""
    rng = np.random.default_rng(1)
    weights, biases, logits_fn = linear_classifier(rng)
    images = rng.uniform(size=(12, 12))
    images = np.where(rng.random(images.shape) < 0.5, np.round(images), images)
    labels = np.argmax(images @ weights + biases, axis=1)
    return (
        logits_fn,
        images,
        labels,
        {
            norm: np.array(
                [
                    margin_in_box(weights, biases, *example, norm)
                    for example in zip(images, labels, strict=True)
                ]
            )
            for norm in ("linf", "l2")
        },
    )


def check_found(size, points, attack, problem, *, rtol):
    logits_fn, images, labels, margins = problem
    exact = margins[attack.norm]
    assert np.all(size >= exact - 1e-6)
    np.testing.assert_allclose(size, exact, rtol=rtol)
    np.testing.assert_allclose(sizes(points - images, attack.norm), size, atol=1e-9)
    assert np.min(points) >= 0
    assert np.max(points) <= 1
    logits = logits_fn(points).numpy()
    rows = np.arange(len(labels))
    true = logits[rows, labels].copy()
    logits[rows, labels] = -np.inf
    assert np.all(logits.max(axis=1) >= true)


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_margin_of_a_linear_classifier_is_found(attack, inner):
    logits_fn, images, labels, _ = inner
    size, points = shortest_over_targets(attack, logits_fn, images, labels)
    check_found(size, points, attack, inner, rtol=0.01)


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_margin_is_found_where_the_box_cuts_the_shortest_way(attack, at_edge):
    logits_fn, images, labels, _ = at_edge
    size, points = shortest_over_targets(attack, logits_fn, images, labels)
    # FAB steps onto hyperplanes in the box; the others get there bit by bit.
    rtol = 0.01 if isinstance(attack, FAB) else 0.04
    check_found(size, points, attack, at_edge, rtol=rtol)


def test_the_box_makes_margins_longer(at_edge):
    # Else the tests at the edge of the box would say no more than those inside.
    rng = np.random.default_rng(1)
    weights, biases, _ = linear_classifier(rng)
    _, images, labels, margins = at_edge
    for norm in ("linf", "l2"):
        free = linear_margins(weights, biases, images, labels, norm)
        assert np.all(margins[norm] >= free - 1e-9)
        assert np.mean(margins[norm] > 1.05 * free) > 0.5


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_misclassified_image_is_its_own_nearest_error(attack, inner):
    logits_fn, images, labels, _ = inner
    wrong = (labels + 1) % NUM_CLASSES
    found = search(attack, logits_fn, images, wrong, eps=0.1)
    found = shorten(logits_fn, tf.constant(images), wrong, found, norm=attack.norm)
    np.testing.assert_allclose(found.size, 0, atol=1e-4)


@pytest.mark.parametrize("attack", ATTACKS)
def test_where_there_is_no_error_nothing_is_found(attack):
    def logits_fn(images):
        score = tf.reduce_sum(images, axis=1) / 100
        return tf.stack([1 + score, score, 0.5 * score, -score], axis=1)

    images = np.random.default_rng(2).uniform(size=(3, 12))
    labels = np.zeros(3, int)
    found = search(attack, logits_fn, images, labels, eps=0.2)
    assert np.all(np.isinf(found.size))
    np.testing.assert_array_equal(found.images, images)
    shorter = shorten(logits_fn, tf.constant(images), labels, found, norm=attack.norm)
    assert np.all(np.isinf(shorter.size))
    np.testing.assert_array_equal(shorter.images, images)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_shortened_errors_end_at_the_boundary_on_the_same_line(norm):
    # One pixel, misclassified from 0.3 on.
    def logits_fn(images):
        return tf.concat([0.3 - images, images - 0.3], axis=1)

    images = tf.constant([[0.1], [0.0]], tf.float64)
    labels = tf.constant([0, 0])
    found = search(FMN(norm, num_steps=1), logits_fn, images, labels)
    far = found._replace(
        images=tf.constant([[0.9], [0.31]], tf.float64),
        size=tf.constant([0.8, 0.31], tf.float64),
    )
    near = shorten(logits_fn, images, labels, far, norm=norm, num_search_steps=20)
    assert np.all(near.images >= 0.3)
    np.testing.assert_allclose(near.images, 0.3, atol=1e-5)
    np.testing.assert_allclose(near.size, [0.2, 0.3], atol=1e-5)
