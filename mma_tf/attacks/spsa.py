"""SPSA: gradient ascent on gradients that are estimated from logits alone."""

import dataclasses
from typing import ClassVar, NamedTuple

import tensorflow as tf

from mma_tf.attacks.gradients import finite
from mma_tf.attacks.iterative import Problem, is_error, nothing_found
from mma_tf.losses.logit_margin import logit_margin_loss
from mma_tf.noise import uniform_each
from mma_tf.norms.registry import get_norm
from mma_tf.per_example import over_pixels, select
from mma_tf.types import LogitsFn, NormName, Tensor

# Adam's, as published.
_DECAY = 0.9
_SQUARES_DECAY = 0.999
_SMALLEST = 1e-8
# Pairs of points evaluated at a time: a whole estimate would not fit into memory.
_PAIRS_AT_ONCE = 8


class SPSAState(NamedTuple):
    """Where SPSA is; see `mma_tf.attacks.iterative.State`."""

    iteration: Tensor
    adversarial: Tensor
    size: Tensor
    points: Tensor
    mean: Tensor
    mean_square: Tensor


@dataclasses.dataclass(frozen=True)
class SPSA:
    """Simultaneous perturbation stochastic approximation in the eps-ball, by Adam.

    Attributes:
        norm: "linf" or "l2".
        num_steps: Steps; an evaluation of the point itself more than that.
        num_samples: Random directions of an estimate of the gradient, each with two
            forward passes.
        delta: How far a sample is from the point in each pixel, in pixel units.
        learning_rate: Adam's, in pixel units.

    Reference: Uesato et al., ICML 2018 (arXiv 1802.05666), section 4; the numbers are
    those of Ding et al., ICLR 2020 (arXiv 1812.02637).
    """

    norm: NormName
    num_steps: int = 100
    num_samples: int = 2048
    delta: float = 0.01
    learning_rate: float = 0.01
    has_ball: ClassVar[bool] = True
    backward_passes: int = dataclasses.field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.num_samples < 1:
            raise ValueError(
                "Invalid `num_samples`: expected a whole number >= 1. Received: "
                f"num_samples={self.num_samples}"
            )

    @property
    def forward_passes(self) -> int:
        """Forward passes a step."""
        return 2 * self.num_samples + 1

    @property
    def num_iterations(self) -> int:
        """After so many evaluations of the point an example is done."""
        return self.num_steps + 1

    def start(self, problem: Problem) -> SPSAState:
        """Returns the state at random points of the ball."""
        images = problem.images
        noise = uniform_each(images.shape[1:], problem.seeds, dtype=images.dtype)
        return SPSAState(
            iteration=tf.zeros_like(problem.labels, tf.int32),
            adversarial=images,
            size=nothing_found(images),
            points=get_norm(self.norm).start_at(noise, images, problem.eps),
            mean=tf.zeros_like(images),
            mean_square=tf.zeros_like(images),
        )

    def step(
        self, logits_fn: LogitsFn, problem: Problem, state: SPSAState
    ) -> SPSAState:
        """Evaluates the points, estimates the gradient there, and moves on."""
        images, points = problem.images, state.points
        error = is_error(problem.labels, logits_fn(points))
        gradients = self._estimate(logits_fn, problem, state)
        count = over_pixels(tf.cast(state.iteration + 1, points.dtype), points)
        mean = _DECAY * state.mean + (1 - _DECAY) * gradients
        square = _SQUARES_DECAY * state.mean_square
        square += (1 - _SQUARES_DECAY) * tf.square(gradients)
        unbiased = mean / (1 - tf.pow(tf.cast(_DECAY, points.dtype), count))
        scale = square / (1 - tf.pow(tf.cast(_SQUARES_DECAY, points.dtype), count))
        moved = points + self.learning_rate * unbiased / (tf.sqrt(scale) + _SMALLEST)
        return SPSAState(
            iteration=state.iteration + 1,
            adversarial=select(error, points, state.adversarial),
            size=tf.where(error, problem.eps, state.size),
            points=get_norm(self.norm).project(moved, images, problem.eps),
            mean=mean,
            mean_square=square,
        )

    def _estimate(
        self, logits_fn: LogitsFn, problem: Problem, state: SPSAState
    ) -> Tensor:
        points = state.points
        pairs = self.num_samples
        at_once = max(n for n in range(1, _PAIRS_AT_ONCE + 1) if pairs % n == 0)
        rounds = pairs // at_once
        labels = tf.repeat(problem.labels, at_once)

        def add_round(number: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
            # Numbered from 1: the start drew from 0.
            draw = 1 + state.iteration * rounds + number
            noise = uniform_each([at_once, *points.shape[1:]], problem.seeds, draw)
            signs = tf.where(noise < 0.5, -1.0, 1.0)
            signs = tf.cast(signs, points.dtype)
            offsets = self.delta * signs

            def losses_at(places: Tensor) -> Tensor:
                logits = logits_fn(tf.reshape(places, [-1, *points.shape[1:]]))
                values = tf.cast(logit_margin_loss(labels, logits), points.dtype)
                return tf.reshape(values, [-1, at_once, *[1] * (points.shape.rank - 1)])

            above = losses_at(points[:, tf.newaxis] + offsets)
            below = losses_at(points[:, tf.newaxis] - offsets)
            slopes = finite((above - below) / (2 * self.delta)) * signs
            return number + 1, total + tf.reduce_sum(slopes, axis=1)

        _, total = tf.while_loop(
            lambda number, total: number < rounds,
            add_round,
            (tf.constant(0), tf.zeros_like(points)),
            parallel_iterations=1,
        )
        return total / pairs
