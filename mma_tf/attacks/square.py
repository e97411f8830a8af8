"""Square: a random search that asks for logits alone, no gradients."""

import dataclasses
import math
from typing import ClassVar, NamedTuple

import numpy as np
import tensorflow as tf

from mma_tf.attacks.iterative import Problem, is_error, nothing_found
from mma_tf.attacks.square_proposals import get_proposals
from mma_tf.losses.logit_margin import logit_margin_loss
from mma_tf.noise import uniform_each
from mma_tf.per_example import select
from mma_tf.types import LogitsFn, NormName, Tensor

# The share of changed pixels is halved after each of these, of 10,000 queries.
_SCHEDULE_QUERIES = 10_000
_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
# Rows of the table of random numbers, a prime.
_TABLE_ROWS = 10_007
# Random numbers of a query: two windows, and as many signs as there are channels.
_NUM_POSITIONS = 5


class SquareState(NamedTuple):
    """Where the search is; see `mma_tf.attacks.iterative.State`."""

    iteration: Tensor
    size: Tensor
    points: Tensor
    best_points: Tensor
    best_loss: Tensor
    # The example's own way through the table of random numbers.
    stream: Tensor

    @property
    def adversarial(self) -> Tensor:
        """The best point: of those that are errors, if any was seen."""
        return self.best_points


@dataclasses.dataclass(frozen=True)
class Square:
    """Square attack in the eps-ball on the logit margin loss.

    Changes the pixels of a square window, and keeps what raises the loss; the windows
    shrink by the published schedule.

    Attributes:
        norm: "linf" or "l2".
        num_queries: Forward passes after the first.
        first_share: Share of the pixels that is changed at first.
        rescale_schedule: Whether the schedule, which is made for 10,000 queries, is
            compressed to `num_queries`. AutoAttack breaks off instead, half way.

    Reference: Andriushchenko et al., ECCV 2020 (arXiv 1912.00049), with the loss and
    the schedule of AutoAttack (arXiv 2003.01690).
    Differs from AutoAttack's code: every example has windows of its own (theirs share
    one over the batch), a window may touch the last row and column, in linf one that
    has the proposed colour already gets the opposite one, and in l2 each channel of a
    window keeps a length of its own, as in the paper's code.
    """

    norm: NormName
    num_queries: int = 5000
    first_share: float = 0.8
    rescale_schedule: bool = False
    forward_passes: int = dataclasses.field(default=1, init=False, repr=False)
    has_ball: ClassVar[bool] = True
    backward_passes: int = dataclasses.field(default=0, init=False, repr=False)

    @property
    def num_iterations(self) -> int:
        """After so many queries an example is done."""
        return self.num_queries + 1

    def start(self, problem: Problem) -> SquareState:
        """Returns the state at the published first proposal: stripes, or a pattern."""
        images = problem.images
        if images.shape.rank != 4:
            raise ValueError(
                "Invalid `images`: the Square attack expects [batch, height, width, "
                f"channels]. Received: shape={images.shape}"
            )
        noise = uniform_each(images.shape[1:], problem.seeds, 0, dtype=images.dtype)
        streams = uniform_each([3], problem.seeds, 1) * _TABLE_ROWS
        points = get_proposals(self.norm).first(noise, images, problem.eps)
        return SquareState(
            iteration=tf.zeros_like(problem.labels, tf.int32),
            size=nothing_found(images),
            points=points,
            best_points=points,
            best_loss=-nothing_found(images),
            stream=tf.cast(streams, tf.int64),
        )

    def step(
        self, logits_fn: LogitsFn, problem: Problem, state: SquareState
    ) -> SquareState:
        """Evaluates the proposal, keeps it if it is better, and makes the next one."""
        images = problem.images
        logits = logits_fn(state.points)
        values = tf.cast(logit_margin_loss(problem.labels, logits), images.dtype)
        error = is_error(problem.labels, logits)
        better = (values > state.best_loss) | error
        best_points = select(better, state.points, state.best_points)
        numbers = _numbers(state, _NUM_POSITIONS + images.shape[-1])
        proposals = get_proposals(self.norm)
        sides = proposals.sides(self._shares(), *images.shape[1:3])
        points = proposals.next(
            best_points,
            images,
            problem.eps,
            sides=sides,
            # Those that are done are one further.
            query=tf.minimum(state.iteration, self.num_queries),
            positions=numbers[:, :_NUM_POSITIONS],
            signs=tf.where(numbers[:, _NUM_POSITIONS:] < 0.5, -1.0, 1.0),
        )
        return state._replace(
            iteration=state.iteration + 1,
            size=tf.where(error, problem.eps, state.size),
            points=points,
            best_points=best_points,
            best_loss=tf.where(better, values, state.best_loss),
        )

    def _shares(self) -> list[float]:
        """Returns the share of the pixels that each query changes."""
        scale = _SCHEDULE_QUERIES / self.num_queries if self.rescale_schedule else 1
        numbers = (int(query * scale) for query in range(self.num_queries + 1))
        halvings = (sum(at > bound for bound in _HALVINGS) for at in numbers)
        return [self.first_share / math.pow(2, number) for number in halvings]


def _numbers(state: SquareState, count: int) -> Tensor:
    """Returns uniform numbers for the next query of each example, `[batch, count]`.

    Sums of two rows of a table, at which each example arrives in its own way: numbers
    of its own for thousands of queries would fill the memory, and to draw them at each
    query would take longer than the query.
    """
    table = np.random.default_rng(0).random((_TABLE_ROWS, count), np.float32)
    query = tf.cast(state.iteration, tf.int64)
    first, stride, start = tf.unstack(state.stream, axis=1)
    one = tf.gather(table, (query + first) % _TABLE_ROWS)
    stride = 1 + stride % (_TABLE_ROWS - 1)
    other = tf.gather(table, (query * stride + start) % _TABLE_ROWS)
    return tf.math.floormod(one + other, 1.0)
