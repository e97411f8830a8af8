"""Steps in the box onto hyperplanes, against exact solutions."""

import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf

from mma_tf.norms import get_norm
from tests.norms.test_norms import sizes

NORMS = ("linf", "l2")


def exact_length(norm, point, normal, gap):
    """Returns the length of the shortest step in the box, None if there is none."""
    if norm == "linf":
        count = len(point)
        ones = np.ones([count, 1])
        program = scipy.optimize.linprog(
            np.append(np.zeros(count), 1.0),
            A_ub=np.block([[np.eye(count), -ones], [-np.eye(count), -ones]]),
            b_ub=np.zeros(2 * count),
            A_eq=np.append(normal, 0.0)[np.newaxis],
            b_eq=[gap],
            bounds=[(-x, 1 - x) for x in point] + [(0, None)],
        )
        return program.fun if program.success else None

    def change(t):
        return normal @ (np.clip(point + t * normal, 0, 1) - point) - gap

    low, high = -1e6, 1e6
    if change(low) > 0 or change(high) < 0:
        return None
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if change(middle) < 0 else (low, middle)
    return np.linalg.norm(np.clip(point + high * normal, 0, 1) - point)


def random_hyperplanes(seed, *, num_pixels=10, number=60):
    """Returns points, many at the box's edge, normals of many scales, and gaps."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(size=(number, num_pixels))
    points = np.where(rng.random(points.shape) < 0.3, np.round(points), points)
    normals = rng.normal(size=points.shape)
    normals *= 10 ** rng.uniform(-2, 1, size=points.shape)
    normals[rng.random(points.shape) < 0.1] = 0
    gaps = rng.normal(size=number) * np.abs(normals).sum(axis=1) * 0.3
    return points, normals, gaps


@pytest.mark.parametrize("norm", NORMS)
def test_steps_are_the_shortest_onto_the_hyperplane(norm):
    points, normals, gaps = random_hyperplanes(0)
    steps = get_norm(norm).to_hyperplane(*map(tf.constant, (points, normals, gaps)))
    reachable = 0
    examples = zip(points, normals, gaps, steps.numpy(), strict=True)
    for point, normal, gap, step in examples:
        exact = exact_length(norm, point, normal, gap)
        assert np.all(point + step >= -1e-12)
        assert np.all(point + step <= 1 + 1e-12)
        if exact is None:
            corner = np.where(normal * gap > 0, 1.0, 0.0)
            moves = normal != 0
            np.testing.assert_allclose((point + step)[moves], corner[moves], atol=1e-12)
            continue
        reachable += 1
        np.testing.assert_allclose(normal @ step, gap, rtol=1e-9, atol=1e-12)
        length = sizes(step[np.newaxis], norm)[0]
        np.testing.assert_allclose(length, exact, rtol=1e-6)
    # Both kinds were there.
    assert 10 < reachable < len(points) - 5


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("gap", [-1.0, 0.0, 1.0])
def test_without_a_normal_nothing_moves(norm, gap):
    points = tf.constant([[0.0, 0.5, 1.0]])
    step = get_norm(norm).to_hyperplane(points, tf.zeros([1, 3]), tf.constant([gap]))
    np.testing.assert_array_equal(step, np.zeros([1, 3]))


@pytest.mark.parametrize("norm", NORMS)
def test_a_point_on_the_hyperplane_stays(norm):
    points, normals, _ = random_hyperplanes(1)
    step = get_norm(norm).to_hyperplane(
        tf.constant(points), tf.constant(normals), tf.zeros(len(points), tf.float64)
    )
    np.testing.assert_array_equal(step, np.zeros_like(points))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e15])
def test_the_step_does_not_depend_on_the_normals_length(norm, scale):
    points, normals, gaps = (x.astype("float32") for x in random_hyperplanes(2))
    geometry = get_norm(norm)
    step = geometry.to_hyperplane(*map(tf.constant, (points, normals, gaps)))
    scaled = geometry.to_hyperplane(
        tf.constant(points),
        tf.constant(normals * np.float32(scale)),
        tf.constant(gaps * np.float32(scale)),
    )
    assert np.all(np.isfinite(scaled))
    np.testing.assert_allclose(scaled, step, atol=2e-4)


@pytest.mark.parametrize("norm", NORMS)
def test_thousands_of_pixels_of_which_most_meet_the_box(norm):
    # Newton's method must arrive although each of its steps frees it of few pixels.
    rng = np.random.default_rng(3)
    points = rng.uniform(size=(4, 28, 28, 3))
    normals = rng.normal(size=points.shape) * 10 ** rng.uniform(-6, 0, points.shape)
    signs = np.sign(normals)
    rooms = np.where(signs > 0, 1 - points, points)
    reach = np.sum(np.abs(normals) * rooms, axis=(1, 2, 3))
    gaps = reach * np.array([0.5, 0.9, 0.999, 0.999999])
    step = get_norm(norm).to_hyperplane(*map(tf.constant, (points, normals, gaps)))
    gained = np.sum(normals * step, axis=(1, 2, 3))
    np.testing.assert_allclose(gained, gaps, rtol=1e-9)


@pytest.mark.parametrize("norm", NORMS)
def test_compiled_steps_are_the_same(norm):
    tensors = [tf.constant(x) for x in random_hyperplanes(4)]
    geometry = get_norm(norm)
    compiled = tf.function(geometry.to_hyperplane, jit_compile=True)
    np.testing.assert_allclose(
        compiled(*tensors), geometry.to_hyperplane(*tensors), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("norm", NORMS)
def test_directions_have_unit_size_and_no_preference(norm):
    noise = np.random.default_rng(5).uniform(size=(4000, 3))
    directions = get_norm(norm).direction_of(tf.constant(noise)).numpy()
    np.testing.assert_allclose(sizes(directions, norm), 1)
    np.testing.assert_allclose(directions.mean(axis=0), 0, atol=0.04)
