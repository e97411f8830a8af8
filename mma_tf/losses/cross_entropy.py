"""Cross-entropy of each example."""

import tensorflow as tf

from mma_tf.losses.true_class import checked_labels
from mma_tf.types import Tensor, TensorLike


def cross_entropy(
    labels: TensorLike, logits: TensorLike, *, label_smoothing: float = 0.0
) -> Tensor:
    """Returns L_CE = logsumexp_j z_j - z_y of each example.

    With label smoothing s the target is 1 - s at the label and s shared by all classes:
    L_CE = logsumexp_j z_j - (1 - s) z_y - s mean_j z_j.

    Args:
        labels: `[batch]`, whole numbers in [0, classes).
        logits: `[batch, classes]`, any floating dtype.
        label_smoothing: s in [0, 1).

    Returns:
        `[batch]` >= 0 in the dtype of `logits`.

    Raises:
        ValueError: As `mma_tf.losses.true_class.checked_labels` says.

    Reference, of label smoothing: Szegedy et al., CVPR 2016 (arXiv 1512.00567).
    """
    logits = tf.convert_to_tensor(logits)
    labels = checked_labels(labels, logits)
    if not label_smoothing:
        return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    classes = tf.shape(logits)[-1]
    targets = tf.one_hot(labels, classes, dtype=logits.dtype)
    share = label_smoothing / tf.cast(classes, logits.dtype)
    targets = (1.0 - label_smoothing) * targets + share
    return tf.nn.softmax_cross_entropy_with_logits(targets, logits)
