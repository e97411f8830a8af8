"""Logit margin loss: by how much the best wrong class beats the true one."""

import tensorflow as tf

from mma_tf.losses.true_class import split_true_class
from mma_tf.types import Tensor, TensorLike


def logit_margin_loss(labels: TensorLike, logits: TensorLike) -> Tensor:
    """Returns L_LM = max_{j != y} z_j - z_y of each example.

    It is >= 0 exactly where the example is misclassified (a tie counts as an error).

    Args:
        labels: `[batch]`, whole numbers in [0, classes).
        logits: `[batch, classes]`, at least two classes, any floating dtype.

    Returns:
        `[batch]` in the dtype of `logits`.

    Reference: Ding et al., ICLR 2020 (arXiv 1812.02637), section 2.
    """
    true_logit, others = split_true_class(labels, logits)
    return tf.reduce_max(others, axis=-1) - true_logit
