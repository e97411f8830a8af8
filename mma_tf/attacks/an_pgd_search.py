"""AN-PGD with restarts, each in the ball of the shortest error found so far."""

import dataclasses
from typing import ClassVar, NamedTuple

import tensorflow as tf

from mma_tf.attacks.arguments import check_step_size
from mma_tf.attacks.boundary_search import boundary_search
from mma_tf.attacks.iterative import (
    Problem,
    is_error,
    keep_smallest,
    nothing_found,
)
from mma_tf.attacks.pgd import pgd
from mma_tf.box import clip_to_box
from mma_tf.losses.logit_margin import logit_margin_loss
from mma_tf.losses.registry import get_attack_loss
from mma_tf.noise import uniform_each
from mma_tf.norms.registry import get_norm
from mma_tf.per_example import over_pixels, select
from mma_tf.types import LogitsFn, NormName, Tensor


class AnPGDState(NamedTuple):
    """Where AN-PGD is; see `mma_tf.attacks.iterative.State`."""

    iteration: Tensor
    adversarial: Tensor
    size: Tensor


@dataclasses.dataclass(frozen=True)
class AnPGD:
    """AN-PGD as a minimum-norm attack.

    The first PGD has the radius `problem.eps`, each restart that of the shortest error
    so far, or twice the last one while there is none. Every second run goes on from
    that error, the others start at random. A bisection along each PGD's direction finds
    how long it need be; its adversarial end counts.

    Attributes:
        norm: "linf" or "l2", the length that is made small.
        num_steps: Steps of each PGD.
        num_restarts: PGD runs.
        step_size_factor: Length of a step, in units of radius / `num_steps`.
        num_search_steps: Bisections.
        loss: What is raised, a name of `mma_tf.losses.registry`.

    Reference: Ding et al., ICLR 2020 (arXiv 1812.02637), section 2.
    """

    norm: NormName
    num_steps: int = 100
    num_restarts: int = 6
    step_size_factor: float = 2.5
    num_search_steps: int = 15
    loss: str = "soft_logit_margin"
    has_ball: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_step_size("step_size_factor", self.step_size_factor)

    @property
    def forward_passes(self) -> int:
        """Forward passes a step, which is a whole restart."""
        return self.num_steps + self.num_search_steps + 1

    @property
    def backward_passes(self) -> int:
        """Backward passes a step, which is a whole restart."""
        return self.num_steps

    @property
    def num_iterations(self) -> int:
        """After so many restarts an example is done."""
        return self.num_restarts

    def start(self, problem: Problem) -> AnPGDState:
        """Returns the state before the first PGD."""
        images = problem.images
        return AnPGDState(
            iteration=tf.zeros_like(problem.labels, tf.int32),
            adversarial=images,
            size=nothing_found(images),
        )

    def step(
        self, logits_fn: LogitsFn, problem: Problem, state: AnPGDState
    ) -> AnPGDState:
        """Makes a PGD and a bisection."""
        geometry = get_norm(self.norm)
        images, labels = problem.images, problem.labels
        loss = get_attack_loss(self.loss)
        longest = geometry.diameter(images.shape[1:].num_elements())
        doubled = problem.eps * tf.cast(2**state.iteration, images.dtype)
        doubled = tf.minimum(doubled, tf.cast(longest, images.dtype))
        radii = tf.where(tf.math.is_inf(state.size), doubled, state.size)
        noise = uniform_each(
            images.shape[1:], problem.seeds, state.iteration, dtype=images.dtype
        )
        goes_on = (state.iteration % 2 == 1) & tf.math.is_finite(state.size)
        start = geometry.start_at(noise, images, radii)
        points = pgd(
            logits_fn,
            images,
            labels,
            norm=self.norm,
            eps=radii,
            num_steps=self.num_steps,
            step_size=self.step_size_factor * radii / self.num_steps,
            start=select(goes_on, state.adversarial, start),
            loss=lambda labels, logits: loss(labels, logits, problem.targets),
        )
        unit = tf.math.divide_no_nan(points - images, over_pixels(radii, images))
        bracket = boundary_search(
            logits_fn,
            images,
            labels,
            direction=unit,
            first_eps=radii,
            max_eps=radii,
            num_search_steps=self.num_search_steps,
            loss=logit_margin_loss,
        )
        shortened = clip_to_box(images + over_pixels(bracket.upper, images) * unit)
        error = bracket.found & is_error(labels, logits_fn(shortened))
        state = keep_smallest(
            state, shortened, geometry.size(shortened - images), error
        )
        return state._replace(iteration=state.iteration + 1)
