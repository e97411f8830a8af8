"""The memory of margins: the last length that AN-PGD found for each example."""

import keras
import tensorflow as tf

from mma_tf.types import Tensor


class MarginMemory(keras.layers.Layer):
    """Keeps one length for each training example, the same on every replica.

    Args:
        num_examples: How many training examples there are; indices are in
            [0, num_examples).
    """

    def __init__(self, num_examples: int, *, name: str = "margin_memory") -> None:
        super().__init__(name=name, trainable=False, autocast=False, dtype="float32")
        self.num_examples = num_examples
        # "Never seen" reads as 0 and so as the least length, like a misclassified one.
        self.eps = self.add_weight(
            shape=(num_examples,),
            initializer="zeros",
            trainable=False,
            autocast=False,
            aggregation="only_first_replica",
            name="eps",
        )

    def recall(self, index: Tensor) -> Tensor:
        """Returns the lengths `[batch]` kept for the examples `index` `[batch]`."""
        return tf.gather(self.eps.value, index)

    def store(self, index: Tensor, eps: Tensor) -> None:
        """Keeps `eps` `[batch]` for the examples `index` `[batch]`, on all replicas."""
        eps = tf.cast(eps, tf.float32)
        context = tf.distribute.get_replica_context()
        if context is not None and context.num_replicas_in_sync > 1:
            # The identities are needed when the replicas are several workers'.
            index, eps = context.all_gather(
                [tf.identity(index), tf.identity(eps)], axis=0
            )
        self.eps.value.scatter_update(tf.IndexedSlices(eps, index))
