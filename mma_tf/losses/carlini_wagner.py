"""Carlini-Wagner loss, an attack's objective in evaluation."""

import tensorflow as tf

from mma_tf.losses.logit_margin import logit_margin_loss
from mma_tf.types import Tensor, TensorLike

# Gradients stop only where the true class leads by more than this many logits.
CONFIDENCE = 50.0


def carlini_wagner_loss(labels: TensorLike, logits: TensorLike) -> Tensor:
    """Returns max(L_LM + 50, 0) of each example.

    Args:
        labels: `[batch]`, whole numbers in [0, classes).
        logits: `[batch, classes]`, at least two classes, any floating dtype.

    Returns:
        `[batch]` >= 0 in the dtype of `logits`.

    Reference: Carlini & Wagner, 2017 (arXiv 1608.04644), as Madry et al., 2018 use it.
    """
    return tf.nn.relu(logit_margin_loss(labels, logits) + CONFIDENCE)
