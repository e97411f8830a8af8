"""APGD: projected gradient ascent that finds its step sizes itself."""

import dataclasses
from typing import ClassVar, NamedTuple

import tensorflow as tf

from mma_tf.attacks.gradients import value_and_gradient
from mma_tf.attacks.iterative import Problem, is_error, nothing_found
from mma_tf.box import clip_to_box
from mma_tf.losses.registry import get_attack_loss
from mma_tf.noise import uniform_each
from mma_tf.norms.registry import get_norm
from mma_tf.per_example import over_pixels, select
from mma_tf.types import LogitsFn, NormName, Tensor

# The first window between two looks at the step size, by how much each is shorter than
# the one before, and the shortest, as shares of the number of steps.
_FIRST_WINDOW = 0.22
_WINDOW_DECREASE = 0.03
_SHORTEST_WINDOW = 0.06
# Weight of the new direction against the last one.
_MOMENTUM = 0.75


class APGDState(NamedTuple):
    """Where APGD is; see `mma_tf.attacks.iterative.State`."""

    iteration: Tensor
    adversarial: Tensor
    size: Tensor
    points: Tensor
    previous: Tensor
    best_points: Tensor
    best_gradients: Tensor
    best_loss: Tensor
    last_loss: Tensor
    step_size: Tensor
    # Since the last look at the step size: the best loss then, whether it was halved
    # then, and how many steps raised the loss since.
    best_loss_then: Tensor
    halved_then: Tensor
    num_increases: Tensor


@dataclasses.dataclass(frozen=True)
class APGD:
    """Auto-PGD in the eps-ball, with its published parameters.

    Attributes:
        norm: "linf" or "l2".
        num_steps: Steps, >= 1; an evaluation of the loss more than that.
        loss: What is raised, a name of `mma_tf.losses.registry`.
        rho: The step size is halved if less than this share of steps raised the loss.

    Reference: Croce & Hein, ICML 2020 (arXiv 2003.01690), section 3.
    Differs from the authors' code: the first window counts the first step too, as the
    paper says. It compares the last with a loss of 0 instead.
    """

    norm: NormName
    num_steps: int = 100
    loss: str = "cross_entropy"
    rho: float = 0.75
    forward_passes: int = dataclasses.field(default=1, init=False, repr=False)
    has_ball: ClassVar[bool] = True
    backward_passes: int = dataclasses.field(default=1, init=False, repr=False)

    @property
    def num_iterations(self) -> int:
        """After so many evaluations an example is done."""
        return self.num_steps + 1

    def start(self, problem: Problem) -> APGDState:
        """Returns the state at random points of the ball."""
        images, eps = problem.images, problem.eps
        noise = uniform_each(images.shape[1:], problem.seeds, dtype=images.dtype)
        direction = get_norm(self.norm).direction_of(noise)
        points = clip_to_box(images + over_pixels(eps, images) * direction)
        zeros = tf.zeros_like(eps)
        return APGDState(
            iteration=tf.zeros_like(problem.labels, tf.int32),
            adversarial=images,
            size=nothing_found(images),
            points=points,
            previous=points,
            best_points=points,
            best_gradients=tf.zeros_like(images),
            best_loss=-nothing_found(images),
            last_loss=zeros,
            step_size=2 * eps,
            best_loss_then=zeros,
            halved_then=tf.ones_like(eps, tf.bool),
            num_increases=tf.zeros_like(problem.labels, tf.int32),
        )

    def step(
        self, logits_fn: LogitsFn, problem: Problem, state: APGDState
    ) -> APGDState:
        """Evaluates the points, notes what was learnt, and moves on."""
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
        is_first = state.iteration == 0
        rose = (values > state.last_loss) & ~is_first
        num_increases = state.num_increases + tf.cast(rose, tf.int32)
        best_points = select(better, points, state.best_points)
        best_gradients = select(better, gradients, state.best_gradients)
        best_loss = tf.where(better, values, state.best_loss)
        best_loss_then = tf.where(is_first, values, state.best_loss_then)

        # Windows of the published lengths end at the same steps for every example.
        windows = tf.gather(tf.constant(self._windows()), state.iteration)
        at_end = windows > 0
        allowed = self.rho * tf.cast(windows, tf.float32)
        oscillates = tf.cast(num_increases, tf.float32) <= allowed
        is_stuck = ~state.halved_then & (best_loss_then >= best_loss)
        halve = at_end & (oscillates | is_stuck)
        step_size = tf.where(halve, state.step_size / 2, state.step_size)
        points = select(halve, best_points, points)
        gradients = select(halve, best_gradients, gradients)

        lengths = over_pixels(step_size, points)
        stepped = points + lengths * geometry.ascent_direction(gradients)
        stepped = geometry.project(stepped, problem.images, problem.eps)
        weight = over_pixels(
            tf.where(
                is_first, tf.ones_like(step_size), _MOMENTUM * tf.ones_like(step_size)
            ),
            points,
        )
        moved = points + weight * (stepped - points)
        moved += (1 - weight) * (points - state.previous)
        return APGDState(
            iteration=state.iteration + 1,
            adversarial=select(error, state.points, state.adversarial),
            size=tf.where(error, problem.eps, state.size),
            points=geometry.project(moved, problem.images, problem.eps),
            previous=points,
            best_points=best_points,
            best_gradients=best_gradients,
            best_loss=best_loss,
            last_loss=values,
            step_size=step_size,
            best_loss_then=tf.where(at_end, best_loss, best_loss_then),
            halved_then=tf.where(at_end, halve, state.halved_then),
            num_increases=tf.where(at_end, tf.zeros_like(num_increases), num_increases),
        )

    def _windows(self) -> list[int]:
        """Returns the window that ends after each step, 0 where none ends."""
        ends = [0] * (self.num_iterations + 1)
        window = max(int(_FIRST_WINDOW * self.num_steps), 1)
        at = window
        while at <= self.num_steps:
            ends[at] = window
            shorter = window - max(int(_WINDOW_DECREASE * self.num_steps), 1)
            window = max(shorter, int(_SHORTEST_WINDOW * self.num_steps), 1)
            at += window
        return ends
