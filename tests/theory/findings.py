"""What the checks of the paper's statements find, case by case.

    .venv/bin/python -m tests.theory.findings

prints the table that docs/theory.md holds.
"""

import functools
import pathlib
import sys
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from scipy.optimize import minimize

from mma_tf import losses
from mma_tf.attacks import pgd
from mma_tf.attacks.an_pgd import an_pgd
from mma_tf.evaluation import an_pgd_margins
from tests.theory.exact_margin import (
    loss_and_derivatives,
    piecewise_linear_margin,
    smooth_margin,
)
from tests.theory.networks import random_case, random_network

SMOOTH_INPUTS = (2, 3, 5, 10)
CASES_OF_EACH = 10
DOCUMENT = pathlib.Path(__file__).parents[2] / "docs" / "theory.md"


class Finding(NamedTuple):
    """What was found of a statement.

    Attributes:
        statement: Where it stands in the paper, and what was checked.
        held: In how many cases it held.
        cases: Of how many.
        worst: The worst case, in words.
    """

    statement: str
    held: int
    cases: int
    worst: str


@functools.cache
def smooth_cases():
    """Networks of tanh, points and labels, with their exact l2 margins."""
    rng = np.random.default_rng(0)
    found = []
    for inputs in SMOOTH_INPUTS:
        for _ in range(CASES_OF_EACH):
            network, point, label = random_case(rng, inputs=inputs, activation="tanh")
            margin = smooth_margin(network, point, label)
            found.append((network, point, label, margin))
    return found


@functools.cache
def winding_cases():
    """Networks of tanh whose boundaries wind, and points far from them.

    There the loss at other points tells less of d.
    """
    rng = np.random.default_rng(4)
    found = []
    for _ in range(30):
        network = random_network(
            rng, inputs=2, activation="tanh", hidden=8, steepness=4.0
        )
        tries = rng.uniform(-1, 1, size=(300, 2))
        logits = np.sort(network.logits(tries))
        point = tries[np.argmax(logits[:, -1] - logits[:, -2])]
        label = int(np.argmax(network.logits(point)))
        margin = smooth_margin(network, point, label)
        found.append((network, point, label, margin))
    return found


@functools.cache
def piecewise_linear_cases(norm):
    """Networks of relu, likewise, with delta* inside a linear piece."""
    rng = np.random.default_rng(1)
    found = []
    while len(found) < 12:
        inputs = (2, 3, 4)[len(found) % 3]
        network, point, label = random_case(rng, inputs=inputs, activation="relu")
        margin = piecewise_linear_margin(network, point, label, norm)
        kernel, bias, _, _ = network.weights
        # On an edge of a piece the loss has no gradient: the statement assumes one.
        if np.min(np.abs((point + margin.delta) @ kernel + bias)) > 1e-6:
            found.append((network, point, label, margin))
    return found


def weight_gradient(network, point, label, loss=losses.logit_margin_loss):
    """Returns the gradient of a loss at a point in the weights, by Keras and ours."""
    model = network.keras()
    with tf.GradientTape() as tape:
        value = loss([label], model(point[None]))[0]
    return [g.numpy() for g in tape.gradient(value, model.trainable_variables)]


def flat(arrays):
    return np.concatenate([np.ravel(array) for array in arrays])


def along(arrays, length):
    """Returns `arrays` scaled to `length` together."""
    return [length * array / np.linalg.norm(flat(arrays)) for array in arrays]


def margin_gradient_by_differences(network, point, label, margin, step=1e-5):
    """Returns the gradient of d in every weight, by central differences."""
    slopes = []
    for at, weight in enumerate(network.weights):
        for place in np.ndindex(weight.shape):
            ends = []
            for sign in (1, -1):
                move = [np.zeros_like(w) for w in network.weights]
                move[at][place] = sign * step
                moved = network.moved(move)
                ends.append(smooth_margin(moved, point, label, start=margin).size)
            slopes.append((ends[0] - ends[1]) / (2 * step))
    return np.array(slopes)


@functools.cache
def proposition_2_1():
    """The gradient of d against -lambda times that of the loss at x + delta*."""
    errors, multipliers = [], []
    for network, point, label, margin in smooth_cases():
        nearest = point + margin.delta
        _, slope, _ = loss_and_derivatives(network, nearest, label, margin.rival)
        direction = margin.delta / margin.size
        multiplier = direction @ slope / (slope @ slope)
        predicted = -multiplier * flat(weight_gradient(network, nearest, label))
        measured = margin_gradient_by_differences(network, point, label, margin)
        errors.append(np.max(np.abs(measured - predicted)) / np.max(np.abs(predicted)))
        multipliers.append(multiplier)
    return np.array(errors), np.array(multipliers)


@functools.cache
def proposition_2_2(norm):
    """How fast d grows along the loss's descent at x + delta*, on relu networks."""
    length, slopes = 1e-4, []
    for network, point, label, margin in piecewise_linear_cases(norm):
        gradient = weight_gradient(network, point + margin.delta, label)
        moved = network.moved(along(gradient, -length))
        after = piecewise_linear_margin(moved, point, label, norm)
        slopes.append((after.size - margin.size) / length)
    return np.array(slopes)


# Where a step is made on the loss, for Theorem 2.1.
PLACES = (
    "the nearest error x + delta*",
    "the clean image",
    "a random point at the distance d",
    "a PGD point at eps = d / 2",
    "a PGD point at eps = 2 d",
)


@functools.cache
def theorem_2_1():
    """By how much a small step on the loss at each of `PLACES` changes d, by case."""
    rng = np.random.default_rng(2)
    changes = {place: [] for place in PLACES}
    for network, point, label, margin in winding_cases():
        direction = rng.normal(size=len(point))
        direction /= np.linalg.norm(direction)
        points = [
            point + margin.delta,
            point,
            point + margin.size * direction,
            _pgd_point(network, point, label, margin.size / 2),
            _pgd_point(network, point, label, 2 * margin.size),
        ]
        for place, where in zip(PLACES, points, strict=True):
            gradient = weight_gradient(network, where, label)
            moved = network.moved(along(gradient, -1e-4))
            after = smooth_margin(moved, point, label, start=margin)
            changes[place].append(after.size - margin.size)
    return {place: np.array(values) for place, values in changes.items()}


def _pgd_point(network, point, label, eps):
    # Our attack keeps to the box [0, 1]: the case is put into its middle.
    model, middle = network.keras(), 0.5
    scale = max(4 * (eps + np.max(np.abs(point))), 1.0)

    def logits_fn(images):
        return model((images - middle) * scale)

    found = pgd(
        logits_fn,
        (point / scale + middle)[None],
        [label],
        norm="l2",
        eps=eps / scale,
        num_steps=20,
        step_size=eps / scale / 8,
        loss=losses.logit_margin_loss,
        random_start=False,
    )
    return (found[0].numpy() - middle) * scale


@functools.cache
def propositions_2_3_and_2_4():
    """SLM margins beside LM margins: `[cases, 2]`, the SLM one first."""
    rng = np.random.default_rng(3)
    pairs = []
    for network, point, label, margin in smooth_cases():
        directions = rng.normal(size=(2000, len(point)))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        directions = np.vstack([directions, margin.delta / margin.size])
        lengths = np.linspace(0, 1.5 * margin.size, 400)
        points = point + lengths[:, None, None] * directions
        logits = network.logits(points)
        labels = np.full(logits.shape[:-1], label)
        soft = _by_rows(losses.soft_logit_margin_loss, labels, logits)
        hard = _by_rows(losses.logit_margin_loss, labels, logits)
        pairs.append([_first(lengths, soft >= 0), _first(lengths, hard >= 0)])
    return np.array(pairs)


def _by_rows(loss, labels, logits):
    values = loss(labels.reshape(-1), logits.reshape(-1, logits.shape[-1]))
    return values.numpy().reshape(labels.shape)


def _first(lengths, reached):
    return np.min(np.where(reached.any(axis=1), lengths, np.inf))


class Ball(NamedTuple):
    """Theorem 3.1 of one case.

    Attributes:
        eps: Radius, in units of d.
        least: eps*, the least norm that reaches rho, in units of d.
        rho: The largest L_LM in the ball.
        on_the_sphere: Whether it is there.
        change: Of eps*, by a small step on the loss at the largest one's place.
    """

    eps: float
    least: float
    rho: float
    on_the_sphere: bool
    change: float


@functools.cache
def theorem_3_1():
    """The largest loss in an eps-ball, and the least norm that reaches it."""
    cases = [case for case in smooth_cases() if len(case[1]) <= 3]
    found = []
    for network, point, label, margin in cases:
        for factor in (0.5, 0.9, 1.0, 1.1, 1.5):
            eps = factor * margin.size
            rho, where = _largest_loss(network, point, label, eps)
            on_the_sphere = np.linalg.norm(where) > eps * (1 - 1e-6)
            least = smooth_margin(network, point, label, level=rho)
            # What training at a fixed eps does.
            gradient = weight_gradient(network, point + where, label)
            moved = network.moved(along(gradient, -1e-4))
            after = smooth_margin(moved, point, label, level=rho, start=least)
            found.append(
                Ball(
                    eps=factor,
                    least=least.size / margin.size,
                    rho=rho,
                    on_the_sphere=bool(on_the_sphere),
                    change=after.size - least.size,
                )
            )
    return found


def _largest_loss(network, point, label, eps):
    """Returns rho = max of L_LM in the ball, and where; a search, then refined."""
    rng = np.random.default_rng(0)
    tries = rng.normal(size=(4000, len(point)))
    tries *= eps / np.linalg.norm(tries, axis=1, keepdims=True)
    tries[2000:] *= rng.uniform(size=(2000, 1))
    values = network.logit_margin(point + tries, label)
    best = (-np.inf, None)
    for start in tries[np.argsort(values)[-6:]]:
        rival = int(np.argmax(np.delete(network.logits(point + start), label)))
        rival += rival >= label

        def negated(delta, rival=rival):
            value, slope, _ = loss_and_derivatives(network, point + delta, label, rival)
            return -value, -slope

        solved = minimize(
            negated,
            start,
            jac=True,
            method="SLSQP",
            constraints={
                "type": "ineq",
                "fun": lambda delta: eps**2 - delta @ delta,
                "jac": lambda delta: -2 * delta,
            },
            options={"ftol": 1e-15, "maxiter": 200},
        )
        delta = solved.x * min(1.0, eps / np.linalg.norm(solved.x))
        value = float(network.logit_margin(point + delta, label))
        best = max(best, (value, tuple(delta)))
    return best[0], np.array(best[1])


class Lengths(NamedTuple):
    """What AN-PGD found in one case, in units of the exact margin d.

    Attributes:
        reported: The margin that a validation or a report tells (`an_pgd_margins`).
        trained_on: The length of the point that a training step is made on (`an_pgd`).
        soft_loss: L_SLM at that point, between two probes of the search.
        resolution: Of that search.
    """

    reported: float
    trained_on: float
    soft_loss: tuple[float, float]
    resolution: float


@functools.cache
def an_pgd_against_exact(norm):
    """Returns `Lengths` of each case.

    Networks of tanh for l2, of relu for linf, in the middle of the box; PGD in the ball
    of radius d.
    """
    every = smooth_cases()[::4] if norm == "l2" else piecewise_linear_cases("linf")
    cases = [case for case in every if case[3].size > 1e-3]
    found = []
    for network, point, label, margin in cases:
        model, middle = network.keras(), 0.5
        scale = 4 * (margin.size + np.max(np.abs(point)))
        exact = margin.size / scale

        def logits_fn(images, model=model, scale=scale, middle=middle):
            return model((images - middle) * scale)

        images, labels = (point / scale + middle)[None], np.array([label])
        # 1.4 d is as much as "not found".
        attack = {
            "norm": norm,
            "max_eps": 1.4 * exact,
            "num_steps": 100,
            "num_search_steps": 10,
            "random_start": False,
        }
        estimate = tf.function(an_pgd_margins)(
            logits_fn,
            tf.constant(images),
            tf.constant(labels),
            eps=exact,
            step_size=exact / 40,
            **attack,
        )
        points, eps = tf.function(an_pgd)(
            logits_fn,
            tf.constant(images),
            tf.constant(labels),
            initial_eps=exact,
            **attack,
        )
        resolution = 1.4 * exact / 2**10
        direction = (points[0].numpy() - images[0]) / float(eps[0])
        losses_there = [
            float(
                losses.soft_logit_margin_loss(
                    labels, logits_fn(images + length * direction)
                )[0]
            )
            for length in (float(eps[0]) - resolution, float(eps[0]) + resolution)
        ]
        found.append(
            Lengths(
                float(estimate.margin[0]) / exact,
                float(eps[0]) / exact,
                tuple(losses_there),
                resolution / exact,
            )
        )
    return found


def findings():
    """Returns a `Finding` of each statement."""
    errors, multipliers = proposition_2_1()
    rows = [
        Finding(
            "Proposition 2.1: the gradient of d, every weight to 0.1 %, lambda > 0",
            int(np.sum((errors < 1e-3) & (multipliers > 0))),
            len(errors),
            f"relative error {np.max(errors):.0e}",
        )
    ]
    for norm in ("linf", "l2"):
        slopes = proposition_2_2(norm)
        rows.append(
            Finding(
                f"Proposition 2.2: d grows along the descent, relu, {norm}",
                int(np.sum(slopes > 0)),
                len(slopes),
                f"slope {np.min(slopes):.2g}",
            )
        )
    for place, changes in theorem_2_1().items():
        rows.append(
            Finding(
                f"Theorem 2.1: a step on the loss at {place} raises d",
                int(np.sum(changes > 0)),
                len(changes),
                f"change {np.min(changes):.1e} of a step of 1e-4",
            )
        )
    best, *others = theorem_2_1().values()
    rows.append(
        Finding(
            "Theorem 2.1: no step elsewhere, of the same length, raises d more",
            int(np.sum(best >= np.max(others, axis=0))),
            len(best),
            f"ratio {np.max(np.max(others, axis=0) / best):.2f}",
        )
    )
    pairs = propositions_2_3_and_2_4()
    rows.append(
        Finding(
            "Propositions 2.3, 2.4: the SLM margin is at most the LM margin",
            int(np.sum(pairs[:, 0] <= pairs[:, 1])),
            len(pairs),
            f"ratio {np.max(pairs[:, 0] / pairs[:, 1]):.3f}",
        )
    )
    balls = [ball for ball in theorem_3_1() if ball.on_the_sphere]
    gaps = [abs(ball.least - ball.eps) for ball in balls]
    changes = np.array([ball.change for ball in balls])
    rows.append(
        Finding(
            "Theorem 3.1: the least norm that reaches the ball's largest loss is eps",
            int(np.sum(np.array(gaps) < 1e-6)),
            len(balls),
            f"{max(gaps):.0e} d off",
        )
    )
    rows.append(
        Finding(
            "Theorem 3.1: a step on the loss there raises eps*, a bound of d",
            int(np.sum(changes > 0)),
            len(balls),
            f"change {np.min(changes):.1e} of a step of 1e-4",
        )
    )
    for norm in ("linf", "l2"):
        lengths = an_pgd_against_exact(norm)
        reported = np.array([each.reported for each in lengths])
        trained_on = np.array([each.trained_on for each in lengths])
        resolution = lengths[0].resolution
        rows += [
            Finding(
                f"AN-PGD, {norm}: a reported margin is never below d",
                int(np.sum(reported >= 1 - 1e-9)),
                len(lengths),
                f"{np.min(reported):.6f} d",
            ),
            Finding(
                f"AN-PGD, {norm}: a reported margin is at most 3 % above d",
                int(np.sum(reported <= 1.03)),
                len(lengths),
                f"{np.max(reported):.2f} d; in the median {np.median(reported):.4f} d",
            ),
            Finding(
                f"AN-PGD, {norm}: the length trained on is at most the reported margin",
                int(np.sum(trained_on <= reported + resolution)),
                len(lengths),
                f"{np.max(trained_on / reported):.2f} of it; {np.min(trained_on):.3f} "
                f"to {np.max(trained_on):.2f} d",
            ),
        ]
    return rows


def table(rows):
    """Returns the findings in Markdown."""
    lines = ["| statement | held | worst case |", "|---|---:|---|"]
    lines += [f"| {r.statement} | {r.held} of {r.cases} | {r.worst} |" for r in rows]
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(findings()))
    sys.exit(0)
