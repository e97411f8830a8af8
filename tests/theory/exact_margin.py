"""The exact margin: the least ||delta|| with L_LM(x + delta) >= level, and delta*.

Smooth networks, l2: a search from many starts, then Newton's method on the conditions
of the optimum, to machine precision. Piecewise linear networks: every pattern of active
units is a polyhedron on which the network is linear; on each the problem is a linear
programme (linf) or a least distance problem (l2; Lawson & Hanson, 1974, chapter 23).
"""

import dataclasses
import itertools

import numpy as np
from scipy.optimize import linprog, nnls

_STARTS = 64
_ROUNDS = 200


@dataclasses.dataclass(frozen=True)
class Margin:
    """Where the nearest error is.

    Attributes:
        size: d(x, y).
        delta: delta*, `[inputs]`.
        rival: The class that takes over there.
    """

    size: float
    delta: np.ndarray
    rival: int


def smooth_margin(network, point, label, *, level=0.0, start=None, seed=0):
    """Returns the l2 margin of a tanh network.

    Args:
        network: See `networks`.
        point: `[inputs]`.
        label: Its class.
        level: What L_LM has to reach.
        start: A `Margin` near by, whose neighbourhood alone is searched.
        seed: Of the starts.
    """
    if start is not None:
        delta = _newton(network, point, label, start.rival, level, start.delta)
        return Margin(float(np.linalg.norm(delta)), delta, start.rival)
    rng = np.random.default_rng(seed)
    classes = len(network.weights[3])
    found = []
    for rival in set(range(classes)) - {label}:
        for delta in _rough(network, point, label, rival, level, rng):
            exact = _newton(network, point, label, rival, level, delta)
            if exact is not None:
                found.append(Margin(float(np.linalg.norm(exact)), exact, rival))
    return min(found, key=lambda margin: margin.size)


def piecewise_linear_margin(network, point, label, norm):
    """Returns the linf or l2 margin of a relu network, by all its linear pieces."""
    kernel, bias, outer, constant = network.weights
    classes = len(constant)
    found = []
    for pattern in itertools.product((0.0, 1.0), repeat=len(bias)):
        on = np.array(pattern)
        sign = 2 * on - 1
        # Of the piece: sign * (W'(x + delta) + b) >= 0.
        sides, offsets = sign[:, None] * kernel.T, sign * (point @ kernel + bias)
        for rival in set(range(classes)) - {label}:
            difference = outer[:, rival] - outer[:, label]
            slope = kernel @ (on * difference)
            value = on * (point @ kernel + bias) @ difference
            value += constant[rival] - constant[label]
            # Rows of G delta >= h.
            rows, least = np.vstack([sides, slope]), np.append(-offsets, -value)
            delta = _linf(rows, least) if norm == "linf" else _l2(rows, least)
            if delta is not None:
                order = np.inf if norm == "linf" else 2
                found.append(Margin(float(np.linalg.norm(delta, order)), delta, rival))
    return min(found, key=lambda margin: margin.size)


def loss_and_derivatives(network, point, label, rival):
    """Returns z_rival - z_label of a tanh network, its gradient and Hessian in x."""
    kernel, bias, outer, constant = network.weights
    difference = outer[:, rival] - outer[:, label]
    values = np.tanh(point @ kernel + bias)
    first = 1 - values**2
    value = values @ difference + constant[rival] - constant[label]
    gradient = (first * difference) @ kernel.T
    curvature = -2 * values * first * difference
    hessian = np.einsum(
        "ih,...h,jh->...ij", kernel, np.atleast_1d(curvature), kernel, optimize=True
    )
    return value, gradient, hessian


def _rough(network, point, label, rival, level, rng):
    """Steps to the nearest point of the linearised boundary, from many starts."""
    directions = rng.normal(size=(_STARTS, len(point)))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    deltas = directions * rng.uniform(0.0, 2.0, size=(_STARTS, 1))
    for _ in range(_ROUNDS):
        value, gradient, _ = loss_and_derivatives(network, point + deltas, label, rival)
        square = np.sum(gradient**2, axis=1) + 1e-12
        wanted = np.sum(gradient * deltas, axis=1) - (value - level)
        deltas = 0.5 * deltas + 0.5 * gradient * (wanted / square)[:, None]
    value, _, _ = loss_and_derivatives(network, point + deltas, label, rival)
    is_near = np.abs(value - level) < 1e-3
    sizes = np.where(is_near, np.linalg.norm(deltas, axis=1), np.inf)
    order = np.argsort(sizes)[: np.count_nonzero(is_near)]
    # Many starts end in one place.
    kept = []
    for delta in deltas[order]:
        if all(np.linalg.norm(delta - other) > 1e-3 for other in kept):
            kept.append(delta)
    return kept[:4]


def _newton(network, point, label, rival, level, delta):
    """Solves delta = lambda * gradient, loss = level; None if it does not converge."""
    _, gradient, _ = loss_and_derivatives(network, point + delta, label, rival)
    multiplier = delta @ gradient / (gradient @ gradient)
    size = len(delta)
    for _ in range(50):
        value, gradient, hessian = loss_and_derivatives(
            network, point + delta, label, rival
        )
        residual = np.append(delta - multiplier * gradient, value - level)
        if np.max(np.abs(residual)) < 1e-14:
            break
        matrix = np.zeros((size + 1, size + 1))
        matrix[:size, :size] = np.eye(size) - multiplier * hessian
        matrix[:size, size] = -gradient
        matrix[size, :size] = gradient
        try:
            step = np.linalg.solve(matrix, -residual)
        except np.linalg.LinAlgError:
            return None
        delta, multiplier = delta + step[:size], multiplier + step[size]
    return delta if np.max(np.abs(residual)) < 1e-11 else None


def _linf(rows, least):
    """Returns the delta of least linf norm with rows @ delta >= least, or None."""
    size = rows.shape[1]
    eye, ones = np.eye(size), np.ones((size, 1))
    above = np.vstack(
        [
            np.hstack([-rows, np.zeros((len(rows), 1))]),
            np.hstack([eye, -ones]),
            np.hstack([-eye, -ones]),
        ]
    )
    below = np.concatenate([-least, np.zeros(2 * size)])
    bounds = [(None, None)] * size + [(0, None)]
    cost = np.append(np.zeros(size), 1.0)
    solved = linprog(cost, above, below, bounds=bounds, method="highs")
    return solved.x[:size] if solved.status == 0 else None


def _l2(rows, least):
    """Returns the shortest delta with rows @ delta >= least, or None."""
    matrix = np.vstack([rows.T, least])
    target = np.append(np.zeros(rows.shape[1]), 1.0)
    weights, residual = nnls(matrix, target)
    if residual < 1e-9:
        return None
    rest = matrix @ weights - target
    return -rest[:-1] / rest[-1]
