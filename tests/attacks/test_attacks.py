"""PGD, boundary search and AN-PGD: closed forms, the authors' results, properties."""

import itertools
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from mma_tf import losses
from mma_tf.attacks import an_pgd, boundary_search, pgd
from tests.classifiers import (
    hiding_logits_fn,
    linear_classifier,
    linear_margins,
    small_network,
)
from tests.norms.test_norms import sizes

TESTDATA = pathlib.Path(__file__).parents[1] / "testdata"
NORMS = ("linf", "l2")


def golden_network(golden):
    layers = keras.layers
    network = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(8, 5, padding="same", activation="softplus"),
            layers.AveragePooling2D(2),
            layers.Conv2D(16, 3, padding="same", activation="softplus"),
            layers.AveragePooling2D(2),
            layers.Flatten(),
            layers.Dense(32, activation="softplus"),
            layers.Dense(10),
        ]
    )
    network.set_weights([golden[f"weight_{i}"] for i in range(8)])
    return network


@pytest.fixture
def problem():
    """A linear classifier, and images classified right and far from the box's edges."""
    rng = np.random.default_rng(0)
    weights, biases, logits_fn = linear_classifier(rng)
    images = rng.uniform(0.45, 0.55, size=(40, 12))
    labels = np.argmax(images @ weights + biases, axis=1)
    return weights, biases, logits_fn, images, labels


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("jit_compile", [False, True])
def test_an_pgd_gives_the_authors_results(norm, jit_compile):
    keras.config.set_dtype_policy("float64")
    golden = np.load(TESTDATA / f"an_pgd_{norm}.npz")
    network = golden_network(golden)

    @tf.function(jit_compile=jit_compile)
    def attack(images, labels, initial_eps):
        return an_pgd(
            lambda x: network(x, training=False),
            images,
            labels,
            norm=norm,
            initial_eps=initial_eps,
            max_eps=float(golden["max_eps"]),
            num_steps=int(golden["num_pgd_steps"]),
            num_search_steps=int(golden["num_search_steps"]),
            step_size_factor=float(golden["step_scale"]),
            random_start=False,
        )

    images, eps = attack(golden["images"], golden["labels"], golden["prev_eps"])
    right = golden["correct"]
    expected = np.clip(golden["adv_images_correct"], 0, 1)
    np.testing.assert_allclose(eps[right], golden["eps_correct"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(images[right], expected, rtol=0, atol=1e-6)
    assert images.dtype == eps.dtype == tf.float64


@pytest.mark.parametrize("norm", NORMS)
def test_an_pgd_finds_the_margin_of_a_linear_classifier(norm):
    rng = np.random.default_rng(1)
    # With two classes L_SLM is L_LM, and its zero the boundary itself.
    weights, biases, logits_fn = linear_classifier(rng, num_classes=2)
    images = rng.uniform(0.45, 0.55, size=(40, 12))
    labels = np.argmax(images @ weights + biases, axis=1)
    exact = linear_margins(weights, biases, images, labels, norm)
    _, eps = an_pgd(
        logits_fn,
        images,
        labels,
        norm=norm,
        initial_eps=exact / 2,
        max_eps=1.0,
        num_steps=20,
        num_search_steps=20,
        random_start=False,
    )
    np.testing.assert_allclose(eps, exact, rtol=0, atol=2 / 2**20)


@pytest.mark.parametrize("norm", NORMS)
def test_pgd_stays_in_ball_and_box_and_leaves_its_inputs_alone(norm, problem):
    _, _, logits_fn, images, labels = problem
    eps = np.linspace(0, 0.9, len(images))
    before = images.copy()
    points = pgd(
        logits_fn, images, labels, norm=norm, eps=eps, num_steps=7, step_size=0.3
    )
    assert np.all(sizes(points - images, norm) <= eps + 1e-12)
    assert np.min(points) >= 0
    assert np.max(points) <= 1
    np.testing.assert_array_equal(points[0], images[0])
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize("norm", NORMS)
def test_pgd_of_a_linear_classifier_reaches_the_best_corner(norm):
    rng = np.random.default_rng(3)
    weights, _, logits_fn = linear_classifier(rng, num_classes=2)
    images = rng.uniform(0.4, 0.6, size=(10, 12))
    labels = np.zeros(10, "int32")
    points = pgd(
        logits_fn,
        images,
        labels,
        norm=norm,
        eps=0.1,
        num_steps=40,
        step_size=0.01,
        random_start=False,
    )
    dual = {"linf": 1, "l2": 2}[norm]
    slope = np.linalg.norm(weights[:, 1] - weights[:, 0], dual)
    gained = losses.logit_margin_loss(labels, logits_fn(points))
    gained -= losses.logit_margin_loss(labels, logits_fn(tf.constant(images)))
    np.testing.assert_allclose(gained, 0.1 * slope, rtol=1e-9)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_batches_scalars_and_order_do_not_matter(norm, dtype):
    rng = np.random.default_rng(4)
    keras.config.set_dtype_policy(dtype)
    network = small_network()
    images = rng.uniform(size=(6, 6, 6, 1)).astype(dtype)
    labels = np.argmax(network(images), axis=1)
    tolerance = {"float32": 2e-5, "float64": 1e-10}[dtype]

    def attack(images, labels, eps):
        return an_pgd(
            lambda x: network(x, training=False),
            images,
            labels,
            norm=norm,
            initial_eps=eps,
            max_eps=0.7,
            num_steps=5,
            random_start=False,
        )

    points, eps = attack(images, labels, 0.2)
    assert points.dtype == eps.dtype == dtype
    as_vector = attack(images, labels, np.full(6, 0.2))
    np.testing.assert_array_equal(eps, as_vector[1])
    reverse_points, reverse_eps = attack(images[::-1], labels[::-1], 0.2)
    np.testing.assert_allclose(eps, reverse_eps[::-1], rtol=0, atol=tolerance)
    np.testing.assert_allclose(points, reverse_points[::-1], rtol=0, atol=tolerance)
    _, alone = attack(images[2:3], labels[2:3], 0.2)
    np.testing.assert_allclose(eps[2], alone[0], rtol=0, atol=tolerance)


def test_search_keeps_its_bracket_and_says_when_nothing_was_found():
    # One pixel, from class 0 to class 1 at 0.3.
    def logits_fn(images):
        return tf.concat([0.3 - images, images - 0.3], axis=1)

    images = tf.zeros([2, 1], tf.float64)
    bracket = boundary_search(
        logits_fn,
        images,
        tf.constant([0, 0]),
        direction=tf.constant([[1.0], [0.1]], tf.float64),
        first_eps=0.6,
        max_eps=0.8,
        num_search_steps=12,
    )
    width = 0.6 / 2**11
    assert bracket.lower[0] < 0.3 <= bracket.upper[0]
    np.testing.assert_allclose(bracket.upper[0] - bracket.lower[0], width)
    np.testing.assert_allclose(
        bracket.eps, (bracket.lower + bracket.upper) / 2, rtol=1e-12
    )
    np.testing.assert_array_equal(bracket.found, [True, False])
    assert bracket.upper[1] == 0.8


def test_first_probe_is_the_initial_length_and_the_last_middle_is_not_probed():
    probes = []

    def logits_fn(images):
        probes.append(float(images[0, 0]))
        return tf.concat([0.3 - images, images - 0.3], axis=1)

    images = tf.zeros([1, 1], tf.float64)
    bracket = boundary_search(
        logits_fn,
        images,
        tf.constant([0]),
        direction=tf.ones([1, 1], tf.float64),
        first_eps=0.5,
        max_eps=0.8,
        num_search_steps=3,
    )
    np.testing.assert_allclose(probes, [0.5, 0.25, 0.375])
    np.testing.assert_allclose(bracket.eps, 0.3125)


def test_cost_is_one_gradient_a_step_and_one_forward_pass_a_bisection():
    calls = []

    def logits_fn(images):
        calls.append(images.shape)
        return tf.concat([0.3 - images, images - 0.3], axis=1)

    an_pgd(
        logits_fn,
        tf.zeros([1, 1]),
        tf.constant([0]),
        norm="linf",
        initial_eps=0.2,
        max_eps=0.8,
        num_steps=4,
        num_search_steps=6,
    )
    assert len(calls) == 10


@pytest.mark.parametrize("norm", NORMS)
def test_an_example_without_length_stays_where_it_is(norm, problem):
    _, _, logits_fn, images, labels = problem
    points, eps = an_pgd(
        logits_fn,
        images,
        labels,
        norm=norm,
        initial_eps=0.0,
        max_eps=0.5,
        num_steps=3,
    )
    np.testing.assert_array_equal(points, images)
    assert np.all(np.isfinite(eps))


def test_batch_normalisation_is_untouched_by_the_attack():
    network = small_network(batch_norm=True)
    before = [weight.copy() for weight in network.get_weights()]
    images = np.random.default_rng(5).uniform(size=(4, 6, 6, 1)).astype("float32")
    an_pgd(
        lambda x: network(x, training=False),
        images,
        np.zeros(4, "int32"),
        norm="linf",
        initial_eps=0.1,
        max_eps=0.2,
        num_steps=2,
    )
    for old, new in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_stronger_attack_never_finds_a_higher_linear_loss(problem):
    _, _, logits_fn, images, labels = problem
    values = []
    for eps in (0.0, 0.05, 0.1, 0.2):
        points = pgd(
            logits_fn,
            images,
            labels,
            norm="linf",
            eps=eps,
            num_steps=20,
            step_size=max(eps, 1e-3) / 5,
            random_start=False,
        )
        values.append(losses.cross_entropy(labels, logits_fn(points)).numpy())
    for weaker, stronger in itertools.pairwise(values):
        assert np.all(stronger >= weaker - 1e-9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"eps": 8.0}, r"eps=8 \(did you mean 8/255\?\)"),
        ({"eps": -0.1}, r"Invalid `eps`.*eps=-0.1"),
        ({"eps": np.zeros([3, 1])}, r"scalar or shape \[batch\]"),
        ({"eps": np.zeros(3)}, r"\[batch\] = \[2\]"),
        ({"norm": "l7"}, r"norm='l7'"),
        ({"num_steps": -1}, r"num_steps=-1"),
        ({"step_size": -0.1}, r"step_size=-0.1"),
        ({"step_size": np.asarray([0.1, np.nan])}, r"Invalid `step_size`.*nan"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    good = {"norm": "linf", "eps": 0.1, "num_steps": 1, "step_size": 0.1}
    with pytest.raises(ValueError, match=message):
        pgd(
            lambda x: x,
            np.zeros([2, 4], "float32"),
            [0, 0],
            **{**good, **arguments},
        )


def test_bytes_are_refused():
    with pytest.raises(TypeError, match="divide bytes by 255"):
        pgd(
            lambda x: x,
            np.zeros([2, 4], "uint8"),
            [0, 0],
            norm="linf",
            eps=0.1,
            num_steps=1,
            step_size=0.1,
        )


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("num_steps", [1, 4])
def test_steps_that_decay_become_shorter_in_a_line_about_their_mean(norm, num_steps):
    kernel = np.ones((4, 2), np.float32) * [1.0, -1.0]
    seen = []

    def logits_fn(points):
        seen.append(points.numpy())
        return points @ tf.constant(kernel, tf.float32)

    images = np.full((1, 4), 0.5, np.float32)
    attack = {"norm": norm, "eps": 0.4, "step_size": 0.05, "random_start": False}
    found = pgd(
        logits_fn, images, [0], num_steps=num_steps, step_decay=True, **attack
    ).numpy()
    constant = pgd(logits_fn, images, [0], num_steps=num_steps, **attack).numpy()
    np.testing.assert_allclose(found, constant, rtol=1e-5)
    path = np.array([*seen[:num_steps], found])
    lengths = [sizes(b - a, norm)[0] for a, b in itertools.pairwise(path)]
    np.testing.assert_allclose(np.mean(lengths), 0.05, rtol=1e-4)
    drops = np.diff([*lengths, 0.0])
    np.testing.assert_allclose(drops, drops[0], rtol=1e-3)
    assert np.all(drops < 0)


def test_a_random_search_finds_a_start_where_gradients_mislead():
    logits_fn = hiding_logits_fn(1.0)
    images = np.zeros((8, 6, 6, 1), np.float32)
    search = {"norm": "linf", "initial_eps": 0.3, "max_eps": 0.5, "num_steps": 2}

    def found(**changes):
        points, eps = an_pgd(logits_fn, images, [0] * 8, **search, **changes)
        return points.numpy(), eps.numpy()

    _, misled = found(step_size_factor=2.5)
    assert np.all(misled > 0.45)
    # Steps too short to undo the start.
    points, eps = found(step_size_factor=0.1, num_start_queries=30)
    assert np.all(eps < 0.3)
    assert len(np.unique(points.reshape(8, -1), axis=0)) > 1
    again, _ = found(step_size_factor=0.1, num_start_queries=30)
    np.testing.assert_array_equal(again, points)
    others, _ = found(step_size_factor=0.1, num_start_queries=30, seed=1)
    assert np.any(others != points)


def watched_logits_fn():
    """Returns a list of all points it will have been asked for, and a classifier.

    It has no error: class 0 always wins.
    """
    seen = []

    def logits_fn(points):
        seen.append(points.numpy())
        value = tf.reduce_sum(points, axis=[1, 2, 3])
        return tf.stack([tf.fill(tf.shape(value), 1e3), value], axis=-1)

    return seen, logits_fn


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_start_that_a_search_found_is_in_ball_and_box(norm):
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(16, 6, 6, 1)).astype(np.float32)
    eps = np.linspace(0.0, 0.4, 16).astype(np.float32)
    seen, logits_fn = watched_logits_fn()

    an_pgd(
        logits_fn,
        images,
        [0] * 16,
        norm=norm,
        initial_eps=eps,
        max_eps=0.4,
        num_steps=0,
        num_search_steps=0,
        num_start_queries=7,
    )
    # The first proposal, and one a query.
    assert len(seen) == 8
    for points in seen:
        assert np.all((points >= 0) & (points <= 1))
        assert np.all(sizes(points - images, norm) <= eps + 1e-5)


@pytest.mark.parametrize(
    ("images", "num_start_queries", "message"),
    [
        (np.zeros([2, 4], "float32"), 3, "height, width"),
        (np.zeros([2, 4, 4, 1], "float32"), -1, "num_start_queries=-1"),
    ],
)
def test_a_search_for_a_start_that_cannot_be_is_refused(
    images, num_start_queries, message
):
    with pytest.raises(ValueError, match=message):
        an_pgd(
            lambda points: tf.reshape(points, [2, -1])[:, :2],
            images,
            [0, 0],
            norm="linf",
            initial_eps=0.1,
            max_eps=0.2,
            num_steps=1,
            num_start_queries=num_start_queries,
        )


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("num_start_queries", [0, 3])
def test_a_search_starts_in_the_direction_that_it_is_given(norm, num_start_queries):
    rng = np.random.default_rng(0)
    images = rng.uniform(0.3, 0.7, size=(4, 6, 6, 1)).astype(np.float32)
    direction = rng.normal(size=images.shape).astype(np.float32)
    direction /= sizes(direction, norm)[:, None, None, None]
    direction[2:] = 0
    seen, logits_fn = watched_logits_fn()

    an_pgd(
        logits_fn,
        images,
        [0] * 4,
        norm=norm,
        initial_eps=0.2,
        max_eps=0.3,
        num_steps=0,
        num_search_steps=1,
        start_direction=direction,
        num_start_queries=num_start_queries,
    )
    moved = seen[0] - images
    np.testing.assert_allclose(moved[:2], 0.2 * direction[:2], atol=1e-6)
    # Where there is none, at random.
    assert np.all(sizes(moved[2:], norm) > 0.1)
    assert np.any(moved[2] != moved[3])
