"""Margins searched for a part of the batch, the objective staying what it is."""

import math
from typing import NamedTuple

import tensorflow as tf

from mma_tf.noise import uniform_like
from mma_tf.types import Seed, Tensor


class Part(NamedTuple):
    """The examples of a batch whose margins are searched.

    Attributes:
        chosen: `[part]` int32, their positions in the batch.
        weights: `[part]` float32, how many examples of the batch each stands for.
    """

    chosen: Tensor
    weights: Tensor

    def take(self, values: Tensor) -> Tensor:
        """Returns the part's rows of `values` `[batch, ...]`."""
        return tf.gather(values, self.chosen)

    def put(self, values: Tensor, *, into: Tensor) -> Tensor:
        """Returns `into` `[batch]` with the part's `values` in their places."""
        into = tf.cast(into, values.dtype)
        return tf.tensor_scatter_nd_update(into, self.chosen[:, tf.newaxis], values)


def choose_part(*, correct: Tensor, reached: Tensor, share: float, seed: Seed) -> Part:
    """Returns the `share` of a batch to search, short margins first.

    Examples that are classified right whose margin had not reached `d_max` when it was
    last searched come first, then those whose had; at random within either group. Each
    one chosen stands for its share of its group, so that a weighted sum over the part
    is an unbiased estimate of the sum over both groups, as long as there is room for
    some of the second.

    Args:
        correct: `[batch]` bool, the examples that are classified right; the others have
            no margin, come last and have weight 0.
        reached: `[batch]` bool, whether the margin was last seen to be `d_max` or more.
        share: How large a part of the batch to choose, in (0, 1].
        seed: Of the choice.
    """
    groups = (correct & tf.logical_not(reached), correct & reached)
    first, second = (tf.cast(group, tf.float32) for group in groups)
    drawn = uniform_like(first, seed)
    _, chosen = tf.math.top_k(drawn + 2 * first + second, _size(share, correct))
    weights = tf.zeros_like(chosen, tf.float32)
    for group in (first, second):
        inside = tf.gather(group, chosen)
        # How many examples of the group each of its chosen ones stands for.
        weights += inside * tf.math.divide_no_nan(
            tf.reduce_sum(group), tf.reduce_sum(inside)
        )
    return Part(chosen, weights)


def _size(share: float, batch: Tensor) -> int | Tensor:
    # XLA needs a number, and knows its batches' sizes.
    if batch.shape[0] is not None:
        return math.ceil(share * batch.shape[0])
    return tf.cast(tf.math.ceil(share * tf.cast(tf.size(batch), tf.float32)), tf.int32)
