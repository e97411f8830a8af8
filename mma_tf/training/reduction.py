"""Means over the batch of all replicas together."""

import tensorflow as tf

from mma_tf.types import Tensor


def mean_over_global_batch(values: Tensor) -> Tensor:
    """Returns this replica's share of the mean of `values` `[batch]`.

    The shares of all replicas add up to the mean over the global batch, which is how
    `tf.distribute` combines gradients; also where replicas hold unequal numbers of
    examples. On one device it is the mean itself.
    """
    size = tf.cast(tf.shape(values)[0], values.dtype)
    context = tf.distribute.get_replica_context()
    if context is not None and context.num_replicas_in_sync > 1:
        size = context.all_reduce(tf.distribute.ReduceOp.SUM, size)
    return tf.reduce_sum(values) / size


def share_of_replica(value: Tensor) -> Tensor:
    """Returns this replica's share of a `value` that is equal on all replicas."""
    context = tf.distribute.get_replica_context()
    if context is None:
        return value
    return value / context.num_replicas_in_sync
