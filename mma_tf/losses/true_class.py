"""The logit of the true class, apart from those of the others."""

import numpy as np
import tensorflow as tf

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

    Labels of another shape would broadcast to losses that mix the examples, and one
    beyond the classes has no logit. Values are checked where they are known, outside
    of graphs.

    Args:
        labels: `[batch]`, whole numbers in [0, classes).
        logits: `[batch, classes]`.

    Raises:
        ValueError: If they are not as said here.
    """
    labels = tf.convert_to_tensor(labels)
    if labels.shape.rank not in (None, 1):
        raise ValueError(
            "Invalid `labels`: expected class numbers of shape [batch]. Received: "
            f"shape={labels.shape} (of one-hot labels pass the argmax)"
        )
    if tf.executing_eagerly() and len(labels):
        values = np.asarray(labels)
        classes = logits.shape[-1]
        if values.min() < 0 or values.max() >= classes:
            raise ValueError(
                f"Invalid `labels`: expected whole numbers from 0 to {classes - 1}, as "
                f"there are {classes} logits. Received: labels from {values.min()} to "
                f"{values.max()}"
            )
    return labels
