"""The MMA objective, one value an example."""

import functools

import tensorflow as tf

from mma_tf.losses.cross_entropy import cross_entropy
from mma_tf.training.partial_search import Part
from mma_tf.types import PerExample, Tensor


def mma_objective(
    *,
    labels: Tensor,
    clean_logits: Tensor,
    mixed_logits: Tensor,
    correct: Tensor,
    eps: Tensor,
    d_max: PerExample,
    clean_loss_coeff: float,
    label_smoothing: float = 0.0,
    part: Part | None = None,
) -> Tensor:
    """Returns each example's share of the MMA objective.

    lambda * L_CE(x) + (1 - lambda) * L_CE(x + delta*) for an example that is classified
    right with a margin below `d_max`; without the second term where the margin reached
    `d_max` (the hinge); and lambda * L_CE(x) + (1 - lambda) * L_CE(x) = L_CE(x) for one
    that is classified wrong. The objective is the mean over the whole batch, hinged
    examples included. With a `part`, the terms of its boundary points are weighted to
    stand for those of the batch.

    Args:
        labels: `[batch]`, whole numbers in [0, classes).
        clean_logits: `[batch, classes]` of the images.
        mixed_logits: `[batch, classes]`, or `[part, classes]`, of the boundary points
            of the examples that are classified right and of the images of the others.
        correct: `[batch]` bool, the examples that are classified right.
        eps: `[batch]`, margins that AN-PGD found, in pixel units.
        d_max: The margin above which an example is left alone, in pixel units.
        clean_loss_coeff: lambda in [0, 1]; 0 is OMMA.
        label_smoothing: Of both losses, see `cross_entropy`.
        part: The examples that `mixed_logits` is of; None if of all.

    Returns:
        `[batch]` >= 0, in the dtype of the logits.

    Reference: Ding et al., ICLR 2020 (arXiv 1812.02637), section 2.
    """
    loss = functools.partial(cross_entropy, label_smoothing=label_smoothing)
    clean_loss = loss(labels, clean_logits)
    if part is None:
        mixed_loss = loss(labels, mixed_logits)
    else:
        weights = tf.cast(part.weights, clean_loss.dtype)
        weighted = weights * loss(part.take(labels), mixed_logits)
        weighted = part.put(weighted, into=tf.zeros_like(clean_loss))
        mixed_loss = tf.where(correct, weighted, clean_loss)
    active = tf.logical_not(correct) | (eps < d_max)
    margin_loss = tf.where(active, mixed_loss, tf.zeros_like(mixed_loss))
    return clean_loss_coeff * clean_loss + (1.0 - clean_loss_coeff) * margin_loss
