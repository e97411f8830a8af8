"""Margins of a batch of examples, estimated by an AN-PGD of fixed length."""

from typing import NamedTuple

import tensorflow as tf

from mma_tf.attacks.arguments import as_images, as_labels, as_radii
from mma_tf.attacks.boundary_search import boundary_search
from mma_tf.attacks.iterative import is_error
from mma_tf.attacks.pgd import pgd
from mma_tf.losses.logit_margin import logit_margin_loss
from mma_tf.losses.soft_logit_margin import soft_logit_margin_loss
from mma_tf.norms.registry import get_norm
from mma_tf.per_example import over_pixels
from mma_tf.types import LogitsFn, NormName, PerExample, Seed, Tensor, TensorLike


class MarginEstimate(NamedTuple):
    """What AN-PGD found out about a batch; each field `[batch]`.

    Attributes:
        margin: An upper bound of the margin: a length at which the example was seen to
            be misclassified, 0 if it already is, `max_eps` if none was found.
        found: Whether a misclassified point was found up to `max_eps`. If not, a report
            says "more than max_eps".
        correct: Whether the image itself is classified right.
        robust: Whether the image is, and no error was found inside the eps-ball.
    """

    margin: Tensor
    found: Tensor
    correct: Tensor
    robust: Tensor


def an_pgd_margins(
    logits_fn: LogitsFn,
    images: TensorLike,
    labels: TensorLike,
    *,
    norm: NormName,
    eps: PerExample,
    step_size: PerExample,
    num_steps: int,
    max_eps: PerExample,
    num_search_steps: int = 10,
    step_decay: bool = False,
    random_start: bool = True,
    num_start_queries: int = 0,
    seed: Seed = 0,
) -> MarginEstimate:
    """Returns upper bounds of the margins, with PGD in a ball of fixed radius.

    PGD on L_SLM in the `eps`-ball gives a direction; bisection along it in
    [0, `max_eps`], first at `max_eps` / 2, looks for the shortest misclassified point.
    An attack can only over-estimate a margin: this is no certificate.

    Args:
        logits_fn: Images to logits `[batch, classes]`, in inference mode.
        images: `[batch, ...]`, floating, in [0, 1].
        labels: `[batch]`, whole numbers in [0, classes).
        norm: "linf" or "l2".
        eps: Radius of the PGD, a scalar or `[batch]`, in pixel units, > 0.
        step_size: Length of a PGD step, a scalar or `[batch]`, in pixel units.
        num_steps: How many PGD steps.
        max_eps: The longest length searched, a scalar or `[batch]`, in pixel units.
        num_search_steps: How many bisections.
        step_decay: See `mma_tf.attacks.pgd`.
        random_start: See `mma_tf.attacks.pgd`.
        num_start_queries: See `mma_tf.attacks.pgd`.
        seed: See `mma_tf.attacks.pgd`.

    Raises:
        ValueError: If `norm` is unknown, a length is negative or of a wrong shape, or a
            number of steps or queries is negative; or, outside of a graph, if pixels or
            labels are out of range.
        TypeError: If `images` are not floating, or `labels` not whole numbers.

    Reference: Ding et al., ICLR 2020 (arXiv 1812.02637), section 2.
    Differs from the authors' code: the sign of L_LM, which is that of misclassification
    itself, decides the bisection, and its adversarial end is reported.
    """
    images, labels = as_images(images), as_labels(labels)
    radii = as_radii("eps", eps, images, norm=get_norm(norm))
    longest = as_radii("max_eps", max_eps, images, norm=get_norm(norm))
    correct = ~is_error(labels, logits_fn(images))
    points = pgd(
        logits_fn,
        images,
        labels,
        norm=norm,
        eps=radii,
        num_steps=num_steps,
        step_size=step_size,
        step_decay=step_decay,
        random_start=random_start,
        num_start_queries=num_start_queries,
        loss=soft_logit_margin_loss,
        seed=seed,
    )
    holds = ~is_error(labels, logits_fn(points))
    bracket = boundary_search(
        logits_fn,
        images,
        labels,
        direction=tf.math.divide_no_nan(points - images, over_pixels(radii, images)),
        first_eps=longest / 2,
        max_eps=longest,
        num_search_steps=num_search_steps,
        loss=logit_margin_loss,
    )
    # The PGD point itself was probed too, and may be the only error within max_eps.
    found_by_pgd = ~holds & (radii <= bracket.upper)
    margin = tf.where(found_by_pgd, radii, bracket.upper)
    found = bracket.found | found_by_pgd
    return MarginEstimate(
        margin=tf.where(correct, margin, tf.zeros_like(margin)),
        found=found | ~correct,
        correct=correct,
        # The search goes through the ball, too, and may meet errors that PGD passed by.
        robust=correct & holds & ~(found & (margin <= radii)),
    )
