"""Difference of logits ratio: a margin loss that no rescaling of the logits changes."""

import tensorflow as tf

from mma_tf.losses.logit_margin import logit_margin_loss
from mma_tf.losses.true_class import split_true_class
from mma_tf.types import Tensor, TensorLike

# Keeps a division by zero from giving NaN where the largest logits are all equal.
_SMALLEST = 1e-12


def dlr_loss(labels: TensorLike, logits: TensorLike) -> Tensor:
    """Returns DLR = (max_{j != y} z_j - z_y) / (z_(1) - z_(3)) of each example.

    z_(k) is the k-th largest logit. Positive where the example is misclassified.

    Args:
        labels: `[batch]`, whole numbers in [0, classes).
        logits: `[batch, classes]`, at least three classes, any floating dtype.

    Returns:
        `[batch]`, at most 1, in the dtype of `logits`.

    Raises:
        ValueError: If there are fewer than three classes.

    Reference: Croce & Hein, ICML 2020 (arXiv 2003.01690), section 4.1.
    """
    largest = _largest(logits, 3, "dlr_loss")
    scale = largest[:, 0] - largest[:, 2] + _SMALLEST
    return logit_margin_loss(labels, logits) / scale


def targeted_dlr_loss(
    labels: TensorLike, logits: TensorLike, targets: TensorLike
) -> Tensor:
    """Returns (z_t - z_y) / (z_(1) - (z_(3) + z_(4)) / 2) of each example.

    Args:
        labels: `[batch]`, whole numbers in [0, classes).
        logits: `[batch, classes]`, at least four classes, any floating dtype.
        targets: `[batch]`, the wrong class t that is aimed at.

    Returns:
        `[batch]` in the dtype of `logits`.

    Raises:
        ValueError: If there are fewer than four classes.

    Reference: Croce & Hein, ICML 2020 (arXiv 2003.01690), section 4.1.
    """
    largest = _largest(logits, 4, "targeted_dlr_loss")
    scale = largest[:, 0] - (largest[:, 2] + largest[:, 3]) / 2 + _SMALLEST
    return target_difference(labels, logits, targets) / scale


def target_difference(
    labels: TensorLike, logits: TensorLike, targets: TensorLike
) -> Tensor:
    """Returns z_t - z_y of each example, `[batch]` in the dtype of `logits`.

    Args:
        labels: `[batch]`, whole numbers in [0, classes).
        logits: `[batch, classes]`, any floating dtype.
        targets: `[batch]`, the wrong class t.
    """
    true_logit, _ = split_true_class(labels, logits)
    target_logit, _ = split_true_class(targets, logits)
    return target_logit - true_logit


def _largest(logits: TensorLike, number: int, name: str) -> Tensor:
    logits = tf.convert_to_tensor(logits)
    if logits.shape[-1] < number:
        raise ValueError(
            f"Invalid `logits`: {name} expects at least {number} classes. Received: "
            f"{logits.shape[-1]} classes"
        )
    return tf.math.top_k(logits, number).values
