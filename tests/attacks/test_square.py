"""Square: its windows, patterns and first proposals, and what it finds."""

import numpy as np
import pytest
import tensorflow as tf

from mma_tf.attacks import Square, search
from mma_tf.attacks.iterative import Problem
from mma_tf.attacks.square_proposals import _pattern, get_proposals
from mma_tf.noise import seeds_of
from tests.norms.test_norms import sizes

NORMS = ("linf", "l2")


def problem_of(images, *, eps):
    number = len(images)
    return Problem(
        images=tf.constant(images),
        labels=tf.zeros([number], tf.int32),
        targets=tf.ones([number], tf.int32),
        eps=tf.fill([number], tf.constant(eps, images.dtype)),
        seeds=seeds_of(0, tf.range(number)),
    )


def changes_of(sides):
    """Returns the queries at which the side changes, and the sides."""
    at = [0, *(np.flatnonzero(np.diff(sides)) + 1).tolist()]
    return at, [sides[query] for query in at]


# After so many of 10,000 queries the share of pixels is halved.
HALVED_AFTER = [10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000]


@pytest.mark.parametrize(
    ("rescale", "halved_at"),
    [
        # AutoAttack's 5,000 queries end within the schedule, with a share of 0.8 / 128.
        (False, [after + 1 for after in HALVED_AFTER if after < 5000]),
        # Compressed, two of the 10,000 pass at each.
        (True, [after // 2 + 1 for after in HALVED_AFTER]),
    ],
)
def test_shares_of_pixels_follow_the_published_schedule(rescale, halved_at):
    shares = Square("linf", num_queries=5000, rescale_schedule=rescale)._shares()
    expected = [0.8 / 2**number for number in range(len(halved_at) + 1)]
    assert changes_of(shares) == ([0, *halved_at], expected)


def test_the_schedule_is_not_compressed_unless_asked_for():
    assert Square("linf") == Square("linf", 5000, 0.8, rescale_schedule=False)


@pytest.mark.parametrize(
    ("norm", "size", "expected"),
    [
        # round(sqrt(0.8 / 2^k) size); in l2 odd and at least 3.
        ("linf", 28, [25, 18, 13, 9, 6, 4, 3, 2, 2, 1]),
        ("linf", 32, [29, 20, 14, 10, 7, 5, 4, 3, 2, 1]),
        ("l2", 28, [25, 19, 13, 9, 7, 5, 3, 3, 3, 3]),
        ("l2", 32, [29, 21, 15, 11, 7, 5, 5, 3, 3, 3]),
    ],
)
def test_windows_have_the_published_sides(norm, size, expected):
    shares = [0.8 / 2**number for number in range(10)]
    assert get_proposals(norm).sides(shares, size, size) == expected


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (3, 9), (20, 4)])
def test_windows_fit_into_the_image(norm, shape):
    sides = get_proposals(norm).sides(Square(norm)._shares(), *shape)
    assert min(sides) >= 1
    assert max(sides) <= min(shape)


@pytest.mark.parametrize("side", [2, 3, 4, 5, 9, 25])
def test_patterns_are_two_bumps_of_opposite_sign_and_unit_length(side):
    pattern = _pattern(side)
    assert pattern.shape == (side, side)
    np.testing.assert_allclose(np.linalg.norm(pattern), 1)
    assert np.all(pattern[: side // 2] > 0)
    assert np.all(pattern[side // 2 :] < 0)
    # As heavy on either side.
    np.testing.assert_allclose(
        np.linalg.norm(pattern[: side // 2]), np.linalg.norm(pattern[side // 2 :])
    )


def test_the_smallest_published_pattern_by_hand():
    # One row above; 1 in its middle, and 1/4 over all, as in the two rows below.
    above = np.array([[0.25, 1.25, 0.25]])
    below = np.array([[0.25, 0.25, 0.25], [0.25, 1.25, 0.25]])
    expected = np.concatenate(
        [above / np.linalg.norm(above), -below / np.linalg.norm(below)]
    )
    np.testing.assert_allclose(_pattern(3), expected / np.sqrt(2))


def test_the_first_proposal_of_linf_is_stripes_at_the_balls_edge():
    images = np.full([4, 6, 8, 3], 0.5)
    attack = Square("linf")
    deltas = attack.start(problem_of(images, eps=0.1)).points.numpy() - images
    np.testing.assert_allclose(np.abs(deltas), 0.1)
    np.testing.assert_array_equal(deltas, np.repeat(deltas[:, :1], 6, axis=1))
    # Columns, channels and examples differ.
    for axis in (0, 2, 3):
        assert np.any(np.diff(deltas, axis=axis) != 0)


@pytest.mark.parametrize(
    ("size", "side", "margin"), [(28, 5, 1), (32, 6, 1), (25, 5, 0)]
)
def test_the_first_proposal_of_l2_is_five_by_five_tiles(size, side, margin):
    images = np.full([3, size, size, 3], 0.5)
    attack = Square("l2")
    deltas = attack.start(problem_of(images, eps=0.5)).points.numpy() - images
    np.testing.assert_allclose(sizes(deltas, "l2"), 0.5)
    inner = deltas[:, margin : margin + 5 * side, margin : margin + 5 * side]
    np.testing.assert_allclose(sizes(inner, "l2"), 0.5)
    tiles = inner.reshape(3, 5, side, 5, side, 3).transpose(0, 1, 3, 5, 2, 4)
    pattern = _pattern(side) * 0.5 / np.sqrt(25 * 3)
    signs = np.sign(tiles[..., :1, :1])
    np.testing.assert_allclose(tiles, signs * pattern, atol=1e-12)
    assert set(signs.flat) == {-1.0, 1.0}


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (2, 2, 1), (7, 5, 3), (4, 9, 2), (28, 28, 1)]
)
def test_proposals_are_at_the_edge_of_the_ball(norm, shape):
    # Far from the box's edges, which would cut them.
    images = np.random.default_rng(0).uniform(0.45, 0.55, size=(5, *shape))
    attack = Square(norm, num_queries=12)
    problem = problem_of(images, eps=0.3)
    state = attack.start(problem)

    # Better each time, so that proposals build on one another.
    def logits_fn(points, number):
        zeros = tf.zeros([5], tf.float64)
        return tf.stack([zeros + 99 - number, zeros], axis=1)

    for number in range(12):
        state = attack.step(lambda x, n=number: logits_fn(x, n), problem, state)
        deltas = state.points - images
        np.testing.assert_allclose(sizes(deltas, norm), 0.3, rtol=1e-9)
        if norm == "linf":
            np.testing.assert_allclose(np.abs(deltas), 0.3, rtol=1e-9)


def test_no_query_of_an_image_in_one_channel_is_wasted_in_linf():
    # Each proposal differs from the best point so far.
    images = np.random.default_rng(1).uniform(0.4, 0.6, size=(4, 8, 8, 1))
    attack = Square("linf", num_queries=40)
    problem = problem_of(images, eps=0.1)
    state = attack.start(problem)
    step = tf.function(lambda state: attack.step(stubborn, problem, state))
    for _ in range(40):
        state = step(state)
        changed = np.any(state.points != state.best_points, axis=(1, 2, 3))
        assert np.all(changed)


def stubborn(points):
    score = tf.reduce_mean(points, axis=[1, 2, 3])
    return tf.stack([0 * score + 9, score], axis=1)


def test_linf_proposals_change_a_window_of_the_schedules_side():
    images = np.full([6, 28, 28, 3], 0.5)
    attack = Square("linf", num_queries=5000)
    problem = problem_of(images, eps=0.1)
    best = problem.images + 0.1
    proposals = get_proposals("linf")
    sides = proposals.sides(attack._shares(), 28, 28)
    rng = np.random.default_rng(0)
    places = set()
    for query in (0, 6, 1001, 5000):
        points = proposals.next(
            best,
            problem.images,
            problem.eps,
            sides=sides,
            query=tf.fill([6], query),
            positions=tf.constant(rng.random((6, 5), np.float32)),
            signs=-tf.ones([6, 3]),
        )
        changed = np.any(points != best, axis=3)
        for window in changed:
            rows, columns = np.nonzero(window)
            places.add((rows[0], columns[0]))
            side = sides[query]
            assert np.ptp(rows) + 1 == np.ptp(columns) + 1 == side
            assert np.sum(window) == side * side
    assert len(places) > 8


def test_l2_proposals_empty_one_window_into_another_channel_by_channel():
    rng = np.random.default_rng(3)
    images = np.full([4, 9, 9, 3], 0.5)
    deltas = rng.normal(size=images.shape)
    deltas *= 0.4 / sizes(deltas, "l2")[:, np.newaxis, np.newaxis, np.newaxis]
    points = get_proposals("l2").next(
        tf.constant(images + deltas),
        tf.constant(images),
        tf.fill([4], tf.constant(0.4, tf.float64)),
        sides=[3],
        query=tf.zeros([4], tf.int32),
        # The first window in the upper left corner, the second in the lower right.
        positions=tf.constant([[0.0, 0.0, 0.99, 0.99, 0.2]] * 4),
        signs=tf.ones([4, 3]),
    )
    after = points - images
    np.testing.assert_allclose(after[:, 6:, 6:], 0, atol=1e-12)
    untouched = np.ones([9, 9], bool)
    untouched[:3, :3] = untouched[6:, 6:] = False
    np.testing.assert_allclose(after.numpy()[:, untouched], deltas[:, untouched])
    # Nothing was cut off, so that each channel keeps its length.
    np.testing.assert_allclose(
        np.linalg.norm(after, axis=(1, 2)), np.linalg.norm(deltas, axis=(1, 2))
    )


@pytest.mark.parametrize("norm", NORMS)
def test_the_loss_of_the_best_point_never_falls(norm):
    rng = np.random.default_rng(4)
    weights = tf.constant(rng.normal(size=(8 * 8, 3)))

    def logits_fn(points):
        logits = tf.matmul(tf.reshape(points, [-1, 64]), weights)
        return logits + tf.constant([200.0, 0.0, 0.0], tf.float64)

    problem = problem_of(rng.uniform(size=(5, 8, 8, 1)), eps=0.3)
    attack = Square(norm, num_queries=60)
    state = attack.start(problem)
    step = tf.function(lambda state: attack.step(logits_fn, problem, state))
    first = step(state).best_loss
    for _ in range(61):
        before, state = state, step(state)
        assert np.all(state.best_loss >= before.best_loss)
    assert np.all(state.best_loss > first)


@pytest.mark.parametrize(("norm", "share"), [("linf", 1.25), ("l2", 2.2)])
def test_balls_below_the_margin_hold_and_balls_well_above_it_break(norm, share):
    # Classes that differ by what is bright above and what is below.
    weights = np.ones([8, 8, 1]) / 64
    weights[4:] = -1 / 64
    images = np.random.default_rng(5).uniform(0.4, 0.6, size=(8, 8, 8, 1))
    images[:, :4] += 0.05

    def logits_fn(points):
        score = tf.reduce_sum(points * weights, axis=[1, 2, 3])
        return tf.stack([score, -score, score - 1], axis=1)

    score = np.sum(images * weights, axis=(1, 2, 3))
    assert np.all(score > 0)
    order = {"linf": 1, "l2": 2}[norm]
    margins = score / np.linalg.norm(weights.ravel(), order)

    @tf.function
    def attack(eps):
        labels = np.zeros(8, "int32")
        return search(
            Square(norm, num_queries=600), logits_fn, images, labels, eps=eps
        ).size

    assert np.all(np.isinf(attack(tf.constant(0.98 * margins))))
    assert np.all(np.isfinite(attack(tf.constant(share * margins))))


def test_flat_images_are_refused():
    with pytest.raises(ValueError, match=r"Square.*\[batch, height, width, channels\]"):
        search(Square("linf"), lambda x: x, np.zeros([2, 4]), [0, 0], eps=0.1)


def test_norms_without_proposals_are_named():
    with pytest.raises(ValueError, match=r"norm='l1'"):
        get_proposals("l1")
