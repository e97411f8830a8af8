"""Cross-entropy of each example."""

import tensorflow as tf

from mma_tf.types import Tensor, TensorLike


def cross_entropy(labels: TensorLike, logits: TensorLike) -> Tensor:
    """Returns L_CE = logsumexp_j z_j - z_y of each example.

    Args:
        labels: `[batch]`, whole numbers in [0, classes).
        logits: `[batch, classes]`, any floating dtype.

    Returns:
        `[batch]` >= 0 in the dtype of `logits`.
    """
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
