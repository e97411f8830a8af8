"""Soft logit margin loss: the smooth upper bound of the logit margin loss."""

import tensorflow as tf

from mma_tf.losses.true_class import split_true_class
from mma_tf.types import Tensor, TensorLike


def soft_logit_margin_loss(labels: TensorLike, logits: TensorLike) -> Tensor:
    """Returns L_SLM = logsumexp_{j != y} z_j - z_y of each example.

    L_LM <= L_SLM <= L_LM + log(classes - 1). So a negative value says that the example
    is classified right; a positive one does not quite say that it is wrong.

    Args:
        labels: `[batch]`, whole numbers in [0, classes).
        logits: `[batch, classes]`, at least two classes, any floating dtype.

    Returns:
        `[batch]` in the dtype of `logits`.

    Reference: Ding et al., ICLR 2020 (arXiv 1812.02637), section 2.
    """
    true_logit, others = split_true_class(labels, logits)
    return tf.reduce_logsumexp(others, axis=-1) - true_logit
