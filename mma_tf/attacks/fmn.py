"""FMN: the nearest misclassified point, in a ball that shrinks and grows."""

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
from mma_tf.attacks.schedules import cosine
from mma_tf.losses.registry import get_attack_loss
from mma_tf.norms.l2 import L2
from mma_tf.norms.registry import get_norm
from mma_tf.per_example import dot, over_pixels
from mma_tf.types import LogitsFn, NormName, Tensor


class FMNState(NamedTuple):
    """Where FMN is; see `mma_tf.attacks.iterative.State`."""

    iteration: Tensor
    adversarial: Tensor
    size: Tensor
    points: Tensor
    radius: Tensor


@dataclasses.dataclass(frozen=True)
class FMN:
    """Fast Minimum-Norm attack.

    Attributes:
        norm: "linf" or "l2", the length that is made small.
        num_steps: Steps; an evaluation more than that.
        first_step_size: Euclidean length of the first step, in units of the box's
            diagonal.
        last_step_size: Of the last; a cosine between.
        first_gamma: By which share the ball changes at first.
        last_gamma: And at last; a cosine between.
        loss: What is raised, a difference of logits, "logit_margin" or
            "target_difference".

    Reference: Pintor et al., NeurIPS 2021 (arXiv 2102.12827), algorithm 1. There the
    step size is a length in pixel units, to be chosen for each kind of images.
    """

    norm: NormName
    num_steps: int = 200
    first_step_size: float = 0.03
    last_step_size: float = 3e-7
    first_gamma: float = 0.05
    last_gamma: float = 1e-4
    loss: str = "logit_margin"
    forward_passes: int = dataclasses.field(default=1, init=False, repr=False)
    has_ball: ClassVar[bool] = False
    backward_passes: int = dataclasses.field(default=1, init=False, repr=False)

    @property
    def num_iterations(self) -> int:
        """After so many evaluations an example is done."""
        return self.num_steps + 1

    def start(self, problem: Problem) -> FMNState:
        """Returns the state at the images."""
        images = problem.images
        return FMNState(
            iteration=tf.zeros_like(problem.labels, tf.int32),
            adversarial=images,
            size=nothing_found(images),
            points=images,
            radius=nothing_found(images),
        )

    def step(self, logits_fn: LogitsFn, problem: Problem, state: FMNState) -> FMNState:
        """Evaluates the points, changes the ball, and moves on inside it."""
        geometry = get_norm(self.norm)
        images, points = problem.images, state.points
        loss = get_attack_loss(self.loss)

        def loss_at(points: Tensor) -> tuple[Tensor, Tensor]:
            logits = logits_fn(points)
            return loss(problem.labels, logits, problem.targets), logits

        (values, logits), gradients = value_and_gradient(loss_at, points)
        error = is_error(problem.labels, logits)
        size = geometry.size(points - images)
        state = keep_smallest(state, points, size, error)

        gamma = cosine(
            self.first_gamma, self.last_gamma, state.iteration, self.num_steps
        )
        gamma = tf.cast(gamma, size.dtype)
        # Where the boundary is as far as the gradient can tell.
        slope = dot(gradients, geometry.ascent_direction(gradients))
        ahead = tf.math.divide_no_nan(-tf.cast(values, size.dtype), slope)
        never = tf.math.is_inf(state.size)
        wider = tf.where(never, size + ahead, state.radius * (1 + gamma))
        narrower = tf.minimum(state.radius * (1 - gamma), state.size)
        radius = tf.where(error, narrower, wider)

        step_size = cosine(
            self.first_step_size, self.last_step_size, state.iteration, self.num_steps
        )
        diagonal = L2().diameter(images.shape[1:].num_elements())
        lengths = over_pixels(tf.cast(diagonal * step_size, size.dtype), points)
        moved = points + lengths * L2().ascent_direction(gradients)
        return state._replace(
            iteration=state.iteration + 1,
            points=geometry.project(moved, images, radius),
            radius=radius,
        )
