"""What holds for every attack that goes step by step."""

import numpy as np
import pytest
import tensorflow as tf

from mma_tf.attacks import APGD, DDN, FAB, FMN, PGD, SPSA, AnPGD, Square, search
from mma_tf.attacks.iterative import Problem
from mma_tf.noise import seeds_of
from tests.classifiers import linear_classifier, linear_margins
from tests.norms.test_norms import sizes


def named(*attacks):
    return [
        pytest.param(attack, id=f"{type(attack).__name__}-{attack.norm}".lower())
        for attack in attacks
    ]


BLACK_BOX = named(
    Square("linf", num_queries=15),
    Square("l2", num_queries=15),
    SPSA("linf", num_steps=4, num_samples=4, learning_rate=0.05),
    SPSA("l2", num_steps=4, num_samples=4, learning_rate=0.05),
)
WITH_BALL = named(
    APGD("linf", num_steps=8),
    APGD("l2", num_steps=8, loss="dlr"),
    PGD("linf", num_steps=8),
    PGD("l2", num_steps=8),
)
MINIMUM_NORM = named(
    FAB("linf", num_steps=6),
    FAB("l2", num_steps=6),
    FMN("linf", num_steps=8),
    FMN("l2", num_steps=8),
    DDN(num_steps=8, first_radius=0.25),
    AnPGD("linf", num_steps=3, num_restarts=2),
    AnPGD("l2", num_steps=3, num_restarts=2),
)
WHITE_BOX = WITH_BALL + MINIMUM_NORM
ALL = WHITE_BOX + BLACK_BOX
EPS = {"linf": 0.1, "l2": 0.25}
NUM_CLASSES = 4


@pytest.fixture
def problem():
    """A smooth network in float64, images and the classes that it gives them."""
    rng = np.random.default_rng(0)
    first = tf.constant(rng.normal(size=(16, 12)) / 2)
    second = tf.constant(rng.normal(size=(12, NUM_CLASSES)))

    def logits_fn(points):
        hidden = tf.tanh(tf.matmul(tf.reshape(points, [-1, 16]) - 0.5, first))
        return tf.matmul(hidden, second)

    images = rng.uniform(size=(7, 4, 4, 1))
    labels = np.argmax(logits_fn(images), axis=1)
    return logits_fn, images, labels


@pytest.mark.parametrize("attack", ALL)
def test_an_example_does_not_depend_on_its_batch(attack, problem):
    logits_fn, images, labels = problem
    eps = EPS[attack.norm] * np.linspace(0.5, 1.5, len(images))
    whole = attack.start(problem_of(images, labels, eps, range(7)))
    order = np.array([4, 0, 6, 2])
    some = attack.start(problem_of(images[order], labels[order], eps[order], order))
    for _ in range(min(attack.num_iterations, 5)):
        whole = attack.step(logits_fn, problem_of(images, labels, eps, range(7)), whole)
        some = attack.step(
            logits_fn,
            problem_of(images[order], labels[order], eps[order], order),
            some,
        )
    for name, value in some._asdict().items():
        expected = getattr(whole, name).numpy()[order]
        np.testing.assert_allclose(value, expected, rtol=0, atol=1e-9, err_msg=name)


def problem_of(images, labels, eps, indices):
    return Problem(
        images=tf.constant(images),
        labels=tf.constant(labels, tf.int32),
        targets=tf.constant((labels + 1) % NUM_CLASSES, tf.int32),
        eps=tf.constant(eps),
        seeds=seeds_of(5, tf.constant(list(indices))),
    )


@pytest.mark.parametrize("attack", ALL)
def test_same_seed_same_result_and_a_batch_of_one_is_its_first_row(attack, problem):
    logits_fn, images, labels = problem
    eps = EPS[attack.norm]
    found = search(attack, logits_fn, images, labels, eps=eps, seed=3)
    again = search(attack, logits_fn, images, labels, eps=eps, seed=3)
    np.testing.assert_array_equal(found.images, again.images)
    np.testing.assert_array_equal(found.size, again.size)
    alone = search(attack, logits_fn, images[:1], labels[:1], eps=eps, seed=3)
    np.testing.assert_allclose(found.images[:1], alone.images, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.size[:1], alone.size, rtol=0, atol=1e-9)


@pytest.mark.parametrize("attack", WITH_BALL + BLACK_BOX)
def test_another_seed_is_another_start_and_each_example_has_its_own(attack):
    images = np.full([2, 4, 4, 1], 0.5)
    labels, eps = np.array([0, 0]), np.array([0.1, 0.1])
    problem = problem_of(images, labels, eps, range(2))
    points = attack.start(problem).points
    assert np.any(points[0] != points[1])
    other = attack.start(problem._replace(seeds=problem.seeds + 1)).points
    assert np.any(points[0] != other[0])
    assert np.all(sizes(points - images, attack.norm) <= 0.1 + 1e-12)


@pytest.mark.parametrize("attack", ALL)
def test_what_is_found_is_an_error_in_the_box_and_as_far_as_told(attack, problem):
    logits_fn, images, labels = problem
    before = images.copy()
    eps = 2 * EPS[attack.norm]
    found = search(attack, logits_fn, images, labels, eps=eps)
    np.testing.assert_array_equal(images, before)
    is_found = np.isfinite(found.size)
    assert np.any(is_found)
    np.testing.assert_array_equal(found.images[~is_found], images[~is_found])
    points = found.images.numpy()[is_found]
    predicted = np.argmax(logits_fn(points), axis=1)
    assert np.all(predicted != labels[is_found])
    assert np.min(points) >= 0
    assert np.max(points) <= 1
    distance = sizes(points - images[is_found], attack.norm)
    np.testing.assert_allclose(found.size[is_found], distance, rtol=1e-9)
    if attack not in [parameters.values[0] for parameters in MINIMUM_NORM]:
        assert np.all(distance <= eps + 1e-6)


@pytest.mark.parametrize("attack", WITH_BALL + BLACK_BOX)
def test_a_ball_of_no_radius_has_no_error(attack, problem):
    logits_fn, images, labels = problem
    found = search(attack, logits_fn, images, labels, eps=0.0)
    assert np.all(np.isinf(found.size))
    np.testing.assert_array_equal(found.images, images)


@pytest.mark.parametrize("attack", WITH_BALL + BLACK_BOX)
def test_one_radius_for_all_is_that_radius_for_each(attack, problem):
    logits_fn, images, labels = problem
    eps = EPS[attack.norm]
    scalar = search(attack, logits_fn, images, labels, eps=eps)
    vector = search(attack, logits_fn, images, labels, eps=np.full(7, eps))
    np.testing.assert_array_equal(scalar.images, vector.images)
    np.testing.assert_array_equal(scalar.size, vector.size)


@pytest.mark.slow
@pytest.mark.parametrize("attack", [*WHITE_BOX[:-1:2], *BLACK_BOX[:3]])
def test_compiled_and_with_a_batch_of_unknown_size_it_is_the_same(attack, problem):
    logits_fn, images, labels = problem
    eps = 1.5 * EPS[attack.norm]
    eager = search(attack, logits_fn, images, labels, eps=eps)

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 4, 4, 1], tf.float64),
            tf.TensorSpec([None], tf.int64),
        ],
        jit_compile=True,
    )
    def compiled(images, labels):
        return search(attack, logits_fn, images, labels, eps=eps)

    found = compiled(images, labels)
    np.testing.assert_allclose(found.images, eager.images, rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.size, eager.size, rtol=0, atol=1e-6)


@pytest.mark.parametrize("attack", WITH_BALL + BLACK_BOX)
def test_stopping_in_the_ball_finds_the_same_errors_at_less_cost(attack, problem):
    logits_fn, images, labels = problem
    # As large a ball as lets some examples be broken, and not all.
    eps = EPS[attack.norm]
    calls = tf.Variable(0)

    def counted(points):
        calls.assign_add(1)
        return logits_fn(points)

    whole = search(attack, counted, images, labels, eps=eps)
    all_calls = int(calls)
    is_found = np.isfinite(whole.size)
    np.testing.assert_array_equal(
        np.isfinite(
            search(attack, counted, images, labels, eps=eps, stop_in_ball=True).size
        ),
        is_found,
    )
    # All broken at the start: one evaluation.
    calls.assign(0)
    wrong = (labels + 1) % NUM_CLASSES
    early = search(attack, counted, images, wrong, eps=1e-6, stop_in_ball=True)
    assert np.all(np.isfinite(early.size))
    assert int(calls) < all_calls / 2


@pytest.mark.parametrize("attack", MINIMUM_NORM)
def test_minimum_norm_attacks_stop_in_the_ball_only_with_an_error_in_it(
    attack, problem
):
    logits_fn, images, labels = problem
    eps = 2 * EPS[attack.norm]
    whole = search(attack, logits_fn, images, labels, eps=eps)
    early = search(attack, logits_fn, images, labels, eps=eps, stop_in_ball=True)
    inside = whole.size.numpy() <= eps
    assert np.any(inside)
    np.testing.assert_array_equal(early.size.numpy() <= eps, inside)
    # Going on finds nearer ones.
    assert np.all(whole.size[inside] <= early.size[inside])


@pytest.mark.parametrize("attack", [*WITH_BALL, *MINIMUM_NORM[:-2]])
def test_white_box_attacks_refuse_a_classifier_without_gradient(attack):
    images = np.full([2, 6, 6, 1], 0.5)
    with pytest.raises(ValueError, match=r"`logits_fn`.*gradient.*black-box"):
        search(attack, without_gradient, images, [0, 0], eps=0.3, targets=[1, 1])


@pytest.mark.parametrize("attack", BLACK_BOX)
def test_black_box_attacks_need_no_gradient(attack):
    images = np.full([2, 6, 6, 1], 0.5)
    eps = {"linf": 0.3, "l2": 1.0}[attack.norm]
    found = search(attack, without_gradient, images, [0, 0], eps=eps)
    assert np.all(found.size <= eps + 1e-6)


def without_gradient(points):
    darkness = tf.stop_gradient(tf.reduce_sum(0.499 - points[:, :3], axis=[1, 2, 3]))
    return tf.stack([-darkness, darkness, darkness - 5, darkness - 6], axis=1)


@pytest.mark.parametrize("attack", ALL)
def test_logits_that_overflow_do_not_pass_for_errors(attack):
    # As of a classifier that ends in log(softmax): the wrong logits are -inf, and no
    # gradient is a number. Class 0 is right all over the box.
    def logits_fn(points):
        score = 1000.0 + tf.reduce_sum(points, axis=[1, 2, 3])
        zeros = tf.zeros_like(score)
        logits = tf.stack([score, zeros, zeros - 1, zeros - 2], axis=1)
        return tf.math.log(tf.nn.softmax(logits))

    images = np.random.default_rng(0).uniform(size=(2, 6, 6, 1)).astype("float32")
    assert np.any(np.isneginf(logits_fn(tf.constant(images))))
    found = search(attack, logits_fn, images, [0, 0], eps=0.2)
    assert np.all(np.isinf(found.size))
    np.testing.assert_array_equal(found.images, images)


@pytest.mark.parametrize(
    "attack",
    [
        APGD("linf", num_steps=25),
        APGD("l2", num_steps=25),
        APGD("linf", num_steps=25, loss="dlr"),
        APGD("l2", num_steps=25, loss="dlr"),
        APGD("linf", num_steps=25, loss="targeted_dlr"),
        APGD("l2", num_steps=25, loss="targeted_dlr"),
        PGD("linf", num_steps=40),
        PGD("l2", num_steps=40),
        SPSA("linf", num_steps=30, num_samples=128, learning_rate=0.05),
        SPSA("l2", num_steps=30, num_samples=128, learning_rate=0.05),
    ],
    ids=lambda attack: f"{type(attack).__name__}-{attack.norm}".lower(),
)
def test_balls_below_the_margin_hold_and_balls_above_it_break(attack):
    rng = np.random.default_rng(1)
    weights, biases, logits_fn = linear_classifier(rng)
    images = rng.uniform(0.45, 0.55, size=(16, 12))
    # Two classes are far ahead, so that one boundary is the nearest by far.
    logits = images @ weights + biases
    biases[:2] += 9 - np.median(logits[:, :2], axis=0)
    labels = np.argmax(images @ weights + biases, axis=1)
    margins = linear_margins(weights, biases, images, labels, attack.norm)
    assert len(set(labels)) == 2

    @tf.function
    def sizes_in(eps):
        return search(attack, logits_fn, images, labels, eps=eps).size

    # Adam's steps are along the signs, which are not where l2 is steepest.
    more = 1.5 if isinstance(attack, SPSA) and attack.norm == "l2" else 1.02
    below, above = (sizes_in(tf.constant(share * margins)) for share in (0.98, more))
    assert np.all(np.isinf(below))
    assert np.all(np.isfinite(above))


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_more_steps_of_the_same_length_never_lose_an_error(norm, problem):
    logits_fn, images, labels = problem
    fewer = PGD(norm, num_steps=4, step_size_factor=1.0)
    more = PGD(norm, num_steps=12, step_size_factor=3.0)
    found = [
        np.isfinite(search(attack, logits_fn, images, labels, eps=eps).size)
        for eps in np.linspace(0.5, 1.5, 3) * EPS[norm]
        for attack in (fewer, more)
    ]
    assert np.any(found[::2])
    for few, many in zip(found[::2], found[1::2], strict=True):
        assert np.all(many >= few)


def test_unknown_names_are_told():
    images = np.full([2, 6, 6, 1], 0.5)
    with pytest.raises(ValueError, match=r"`norm`.*norm='l1'"):
        search(FAB("l1"), lambda x: x[:, 0, 0], images, [0, 0])
    with pytest.raises(ValueError, match=r"`loss`.*loss='hinge'"):
        search(
            PGD("linf", loss="hinge"), lambda x: x[:, 0, :, 0], images, [0, 0], eps=0.1
        )


@pytest.mark.parametrize(
    ("eps", "message"),
    [
        (-0.1, r"`eps`.*eps=-0.1"),
        (8.0, r"did you mean 8/255"),
        (np.zeros(3), r"\[batch\] = \[2\]"),
    ],
)
def test_bad_radii_are_told(eps, message):
    images = np.full([2, 6, 6, 1], 0.5)
    with pytest.raises(ValueError, match=message):
        search(PGD("linf"), lambda x: x[:, 0, :, 0], images, [0, 0], eps=eps)


def test_bytes_are_refused():
    with pytest.raises(TypeError, match="divide bytes by 255"):
        search(PGD("linf"), lambda x: x, np.zeros([2, 4], "uint8"), [0, 0], eps=0.1)
