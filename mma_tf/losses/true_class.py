"""The logit of the true class, apart from those of the others."""

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
    """
    logits = tf.convert_to_tensor(logits)
    is_true = tf.one_hot(labels, logits.shape[-1], on_value=True, off_value=False)
    true_logit = tf.reduce_sum(
        tf.where(is_true, logits, tf.zeros_like(logits)), axis=-1
    )
    minus_infinity = tf.constant(float("-inf"), logits.dtype)
    return true_logit, tf.where(is_true, minus_infinity, logits)
