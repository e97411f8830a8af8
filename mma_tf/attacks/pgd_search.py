"""PGD that looks at every point on its way, as evaluation wants it."""

import dataclasses
from typing import ClassVar, NamedTuple

import tensorflow as tf

from mma_tf.attacks.arguments import check_step_size
from mma_tf.attacks.gradients import value_and_gradient
from mma_tf.attacks.iterative import Problem, is_error, nothing_found
from mma_tf.losses.registry import get_attack_loss
from mma_tf.noise import uniform_each
from mma_tf.norms.registry import get_norm
from mma_tf.per_example import over_pixels, select
from mma_tf.types import LogitsFn, NormName, Tensor


class PGDState(NamedTuple):
    """Where PGD is; see `mma_tf.attacks.iterative.State`."""

    iteration: Tensor
    adversarial: Tensor
    size: Tensor
    points: Tensor
    best_points: Tensor
    best_loss: Tensor


@dataclasses.dataclass(frozen=True)
class PGD:
    """Projected gradient ascent in the eps-ball, from a random start.

    Attributes:
        norm: "linf" or "l2".
        num_steps: Steps; an evaluation of the loss more than that.
        step_size_factor: Length of a step, in units of `eps / num_steps`.
        loss: What is raised, a name of `mma_tf.losses.registry`.

    Reference: Madry et al., ICLR 2018 (arXiv 1706.06083), section 2.1.
    Differs from the usual: an error at any step counts, and not at the last one alone.
    """

    norm: NormName
    num_steps: int = 100
    step_size_factor: float = 25.0
    loss: str = "cross_entropy"
    forward_passes: int = dataclasses.field(default=1, init=False, repr=False)
    has_ball: ClassVar[bool] = True
    backward_passes: int = dataclasses.field(default=1, init=False, repr=False)

    def __post_init__(self) -> None:
        check_step_size("step_size_factor", self.step_size_factor)

    @property
    def num_iterations(self) -> int:
        """After so many evaluations an example is done."""
        return self.num_steps + 1

    def start(self, problem: Problem) -> PGDState:
        """Returns the state at random points of the ball."""
        images = problem.images
        noise = uniform_each(images.shape[1:], problem.seeds, dtype=images.dtype)
        points = get_norm(self.norm).start_at(noise, images, problem.eps)
        return PGDState(
            iteration=tf.zeros_like(problem.labels, tf.int32),
            adversarial=images,
            size=nothing_found(images),
            points=points,
            best_points=points,
            best_loss=-nothing_found(images),
        )

    def step(self, logits_fn: LogitsFn, problem: Problem, state: PGDState) -> PGDState:
        """Evaluates the points and moves on."""
        geometry = get_norm(self.norm)
        loss = get_attack_loss(self.loss)

        def losses_at(points: Tensor) -> tuple[Tensor, Tensor]:
            logits = logits_fn(points)
            return loss(problem.labels, logits, problem.targets), logits

        points = state.points
        (values, logits), gradients = value_and_gradient(losses_at, points)
        values = tf.cast(values, points.dtype)
        error = is_error(problem.labels, logits)
        better = values > state.best_loss
        length = self.step_size_factor * problem.eps / self.num_steps
        moved = points + over_pixels(length, points) * geometry.ascent_direction(
            gradients
        )
        return PGDState(
            iteration=state.iteration + 1,
            adversarial=select(error, points, state.adversarial),
            size=tf.where(error, problem.eps, state.size),
            points=geometry.project(moved, problem.images, problem.eps),
            best_points=select(better, points, state.best_points),
            best_loss=tf.where(better, values, state.best_loss),
        )
