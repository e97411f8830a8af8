"""The logit of the true class, apart from those of the others."""

import numpy as np
import tensorflow as tf

from mma_tf.inputs import check_classes, flat_labels
from mma_tf.types import Tensor, TensorLike


def split_true_class(labels: TensorLike, logits: TensorLike) -> tuple[Tensor, Tensor]:
    """Separates the true class's logit from the others'.

    Args:
        labels: `[batch]`, whole numbers in [0, classes).
        logits: `[batch, classes]`, any floating dtype.

    Returns:
        The true class's logit `[batch]`, and `logits` with the true class at minus
        infinity `[batch, classes]`. Minus infinity and not a product with a mask: the
        latter is wrong where all other logits are negative.

    Raises:
        ValueError: As `checked_labels` says.
    """
    logits = tf.convert_to_tensor(logits)
    labels = checked_labels(labels, logits)
    is_true = tf.one_hot(labels, logits.shape[-1], on_value=True, off_value=False)
    true_logit = tf.reduce_sum(
        tf.where(is_true, logits, tf.zeros_like(logits)), axis=-1
    )
    minus_infinity = tf.constant(float("-inf"), logits.dtype)
    return true_logit, tf.where(is_true, minus_infinity, logits)


def checked_labels(labels: TensorLike, logits: Tensor) -> Tensor:
    """Returns `labels` as a tensor of one class number for each of the `logits`.

    Values are checked where they are known, outside of graphs.

    Args:
        labels: `[batch]` or `[batch, 1]`, whole numbers in [0, classes).
        logits: `[batch, classes]`.

    Raises:
        ValueError: If they are not as said here.
    """
    labels = flat_labels(tf.convert_to_tensor(labels))
    if labels.dtype.is_integer and labels.dtype not in (tf.int32, tf.int64):
        # TensorFlow's own losses take no bytes, which labels often are.
        labels = tf.cast(labels, tf.int32)
    if tf.executing_eagerly() and len(labels):
        values = np.asarray(labels)
        check_classes(values.min(), values.max(), logits.shape[-1])
    return labels
