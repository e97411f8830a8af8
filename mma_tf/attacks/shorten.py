"""Errors brought as near to their images as the line between them allows."""

import tensorflow as tf

from mma_tf.attacks.boundary_search import boundary_search
from mma_tf.attacks.iterative import Found, is_error
from mma_tf.box import clip_to_box
from mma_tf.losses.logit_margin import logit_margin_loss
from mma_tf.norms.registry import get_norm
from mma_tf.per_example import over_pixels, select
from mma_tf.types import LogitsFn, NormName, Tensor


def shorten(
    logits_fn: LogitsFn,
    images: Tensor,
    labels: Tensor,
    found: Found,
    *,
    norm: NormName,
    num_search_steps: int = 15,
) -> Found:
    """Returns errors no farther away than those in `found`, on the lines to them.

    A bisection between image and error; its adversarial end is returned, and seen to be
    an error once more.

    Args:
        logits_fn: Images to logits `[batch, classes]`, in inference mode.
        images: `[batch, ...]`, floating, in [0, 1].
        labels: `[batch]`, whole numbers in [0, classes).
        found: Errors, and their distances, infinite where there is none.
        norm: "linf" or "l2", of the distances.
        num_search_steps: Bisections, a forward pass each.
    """
    geometry = get_norm(norm)
    bracket = boundary_search(
        logits_fn,
        images,
        labels,
        direction=found.images - images,
        first_eps=0.5,
        max_eps=1.0,
        num_search_steps=num_search_steps,
        loss=logit_margin_loss,
    )
    share = over_pixels(bracket.upper, images)
    points = clip_to_box(images + share * (found.images - images))
    size = geometry.size(points - images)
    nearer = is_error(labels, logits_fn(points)) & (size < found.size)
    return Found(
        images=select(nearer, points, found.images),
        size=tf.where(nearer, size, found.size),
    )
