"""What images and labels have to be, wherever they come in."""

from typing import Any

import tensorflow as tf

from mma_tf.errors import UserError


def check_pixels(low: float, high: float) -> None:
    """Raises UserError if pixels that reach from `low` to `high` leave [0, 1]."""
    # Written so that NaN fails too.
    if not (low >= 0 and high <= 1):
        raise UserError(
            "Invalid `images`: expected pixels in [0, 1]. Received: pixels from "
            f"{low:g} to {high:g} (divide bytes by 255)"
        )


def flat_labels(labels: Any) -> Any:
    """Returns labels as `[batch]`; `[batch, 1]` is taken for that.

    Labels of another shape would broadcast to losses that mix the examples.

    Args:
        labels: A numpy array or a tensor.

    Raises:
        ValueError: If they have another shape, where it is known.
    """
    shape = tf.TensorShape(labels.shape)
    if shape.rank == 2 and shape[1] == 1:
        return labels[:, 0]
    if shape.rank not in (None, 1):
        # No UserError: of a function that becomes a graph, TensorFlow hands on the
        # types of errors that are Python's own.
        raise ValueError(
            "Invalid `labels`: expected class numbers of shape [batch]. Received: "
            f"shape={shape} (of one-hot labels pass the argmax)"
        )
    return labels


def check_classes(low: int, high: int, num_classes: int) -> None:
    """Raises UserError if labels from `low` to `high` are not in [0, num_classes)."""
    if low < 0 or high >= num_classes:
        raise UserError(
            f"Invalid `labels`: expected whole numbers from 0 to {num_classes - 1}, as "
            f"there are {num_classes} logits. Received: labels from {low} to {high}"
        )
