"""FAB: the nearest misclassified point, by projections onto the linearised boundary."""

import dataclasses
from typing import ClassVar, NamedTuple

import tensorflow as tf

from mma_tf.attacks.gradients import value_and_gradient
from mma_tf.attacks.iterative import (
    Problem,
    is_error,
    keep_smallest,
    nothing_found,
)
from mma_tf.box import clip_to_box
from mma_tf.losses.dlr import target_difference
from mma_tf.norms.registry import get_norm
from mma_tf.per_example import dot, over_pixels, select
from mma_tf.types import LogitsFn, NormName, Tensor

# Keeps the weights of two steps of length 0 from being 0 / 0.
_SHORTEST_STEP = 1e-8


class FABState(NamedTuple):
    """Where FAB is; see `mma_tf.attacks.iterative.State`."""

    iteration: Tensor
    adversarial: Tensor
    size: Tensor
    points: Tensor
    # Whether the points were just moved back from an error towards the image.
    went_back: Tensor


@dataclasses.dataclass(frozen=True)
class FAB:
    """Fast Adaptive Boundary attack towards a target class.

    The point steps onto the hyperplane on which the linearised logits of the target and
    the true class are equal, drawn to the image by the image's own projection. From an
    error it goes back towards the image.

    Attributes:
        norm: "linf" or "l2", the length that is made small.
        num_steps: Projections.
        alpha_max: The largest weight of the image's projection.
        eta: Length of the steps, in units of the projection's.
        beta: What is left of the distance after a step back.

    Reference: Croce & Hein, ICML 2020 (arXiv 1907.02044), algorithm 1, in the targeted
    form that AutoAttack (arXiv 2003.01690) uses, started at the image.
    """

    norm: NormName
    num_steps: int = 100
    alpha_max: float = 0.1
    eta: float = 1.05
    beta: float = 0.9
    forward_passes: int = dataclasses.field(default=1, init=False, repr=False)
    has_ball: ClassVar[bool] = False
    backward_passes: int = dataclasses.field(default=1, init=False, repr=False)

    @property
    def num_iterations(self) -> int:
        """After so many projections and a last look an example is done."""
        return self.num_steps + 1

    def start(self, problem: Problem) -> FABState:
        """Returns the state at the images."""
        images = problem.images
        return FABState(
            iteration=tf.zeros_like(problem.labels, tf.int32),
            adversarial=images,
            size=nothing_found(images),
            points=images,
            went_back=tf.zeros_like(problem.labels, tf.bool),
        )

    def step(self, logits_fn: LogitsFn, problem: Problem, state: FABState) -> FABState:
        """Evaluates the points, and goes back from errors or on to the hyperplane."""
        geometry = get_norm(self.norm)
        images, points = problem.images, state.points

        def difference_at(points: Tensor) -> tuple[Tensor, Tensor]:
            logits = logits_fn(points)
            values = target_difference(problem.labels, logits, problem.targets)
            return values, logits

        (values, logits), normals = value_and_gradient(difference_at, points)
        error = is_error(problem.labels, logits)
        state = keep_smallest(state, points, geometry.size(points - images), error)
        goes_back = error & ~state.went_back
        back = images + self.beta * (points - images)

        gaps = -tf.cast(values, points.dtype)
        here = geometry.to_hyperplane(points, normals, gaps)
        from_image = gaps + dot(normals, points - images)
        there = geometry.to_hyperplane(images, normals, from_image)
        here_size = tf.maximum(geometry.size(here), _SHORTEST_STEP)
        there_size = tf.maximum(geometry.size(there), _SHORTEST_STEP)
        weight = tf.minimum(here_size / (here_size + there_size), self.alpha_max)
        weight = over_pixels(weight, points)
        on = (1 - weight) * (points + self.eta * here)
        on += weight * (images + self.eta * there)
        return state._replace(
            iteration=state.iteration + tf.cast(~goes_back, tf.int32),
            points=select(goes_back, back, clip_to_box(on)),
            went_back=goes_back,
        )
