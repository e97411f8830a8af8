"""What is kept for each training example, from one epoch to the next."""

from collections.abc import Sequence

import keras
import tensorflow as tf

from mma_tf.types import Tensor


class ExampleMemory(keras.layers.Layer):
    """Keeps numbers for each training example, the same on every replica.

    "Never seen" reads as zeros.

    Args:
        num_examples: How many training examples there are; indices are in
            [0, num_examples).
        shape: Of what is kept for one example.
        dtype: Of what is kept.
        name: Of the layer.

    Attributes:
        kept: `[num_examples, *shape]`, the variable.
    """

    def __init__(
        self,
        num_examples: int,
        *,
        shape: Sequence[int] = (),
        dtype: str = "float32",
        name: str,
    ) -> None:
        super().__init__(name=name, trainable=False, autocast=False, dtype=dtype)
        self.num_examples = num_examples
        self.kept = self.add_weight(
            shape=(num_examples, *shape),
            initializer="zeros",
            dtype=dtype,
            trainable=False,
            autocast=False,
            aggregation="only_first_replica",
            name="kept",
        )

    def recall(self, index: Tensor) -> Tensor:
        """Returns what is kept `[batch, *shape]` for the examples `index` `[batch]`."""
        return tf.gather(self.kept.value, index)

    def store(self, index: Tensor, values: Tensor) -> None:
        """Keeps `values` for the examples `index` `[batch]`, on all replicas."""
        values = tf.cast(values, self.kept.dtype)
        context = tf.distribute.get_replica_context()
        if context is not None and context.num_replicas_in_sync > 1:
            # The identities are needed when the replicas are several workers'.
            index, values = context.all_gather(
                [tf.identity(index), tf.identity(values)], axis=0
            )
        self.kept.value.scatter_update(tf.IndexedSlices(values, index))
