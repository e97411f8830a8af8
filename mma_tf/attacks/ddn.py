"""DDN: the nearest misclassified point, direction and length apart; l2."""

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
from mma_tf.box import clip_to_box
from mma_tf.losses.registry import get_attack_loss
from mma_tf.norms.registry import get_norm
from mma_tf.per_example import over_pixels
from mma_tf.types import LogitsFn, NormName, Tensor


class DDNState(NamedTuple):
    """Where DDN is; see `mma_tf.attacks.iterative.State`."""

    iteration: Tensor
    adversarial: Tensor
    size: Tensor
    points: Tensor
    radius: Tensor


@dataclasses.dataclass(frozen=True)
class DDN:
    """Decoupling Direction and Norm attack, in l2.

    Attributes:
        num_steps: Steps; an evaluation more than that.
        first_radius: Length of the first perturbation, in pixel units.
        gamma: By which share the length changes at a step.
        first_step_size: Length of the first gradient step, in pixel units.
        last_step_size: Of the last; a cosine between.
        loss: What is raised, a name of `mma_tf.losses.registry`.

    Reference: Rony et al., CVPR 2019 (arXiv 1811.09600), algorithm 1.
    Differs from the authors' code: images are not rounded to bytes, and the first
    perturbation has `first_radius`, which is not made longer before.
    """

    num_steps: int = 200
    first_radius: float = 1.0
    gamma: float = 0.05
    first_step_size: float = 1.0
    last_step_size: float = 0.01
    loss: str = "cross_entropy"
    norm: NormName = dataclasses.field(default="l2", init=False)
    forward_passes: int = dataclasses.field(default=1, init=False, repr=False)
    has_ball: ClassVar[bool] = False
    backward_passes: int = dataclasses.field(default=1, init=False, repr=False)

    @property
    def num_iterations(self) -> int:
        """After so many evaluations an example is done."""
        return self.num_steps + 1

    def start(self, problem: Problem) -> DDNState:
        """Returns the state at the images."""
        images = problem.images
        size = nothing_found(images)
        return DDNState(
            iteration=tf.zeros_like(problem.labels, tf.int32),
            adversarial=images,
            size=size,
            points=images,
            radius=self.first_radius * tf.ones_like(size),
        )

    def step(self, logits_fn: LogitsFn, problem: Problem, state: DDNState) -> DDNState:
        """Evaluates the points, steps along the gradient, and sets the length anew."""
        geometry = get_norm(self.norm)
        images, points = problem.images, state.points
        loss = get_attack_loss(self.loss)

        def loss_at(points: Tensor) -> tuple[Tensor, Tensor]:
            logits = logits_fn(points)
            return loss(problem.labels, logits, problem.targets), logits

        (_, logits), gradients = value_and_gradient(loss_at, points)
        error = is_error(problem.labels, logits)
        state = keep_smallest(state, points, geometry.size(points - images), error)
        step_size = cosine(
            self.first_step_size, self.last_step_size, state.iteration, self.num_steps
        )
        lengths = over_pixels(tf.cast(step_size, points.dtype), points)
        moved = points - images + lengths * geometry.ascent_direction(gradients)
        change = tf.where(error, 1 - self.gamma, 1 + self.gamma)
        # The first evaluation is of the image itself, and of no length.
        change = tf.where(state.iteration == 0, tf.ones_like(change), change)
        radius = state.radius * tf.cast(change, points.dtype)
        scaled = over_pixels(radius, points) * geometry.ascent_direction(moved)
        return state._replace(
            iteration=state.iteration + 1,
            points=clip_to_box(images + scaled),
            radius=radius,
        )
