"""Bisection for the length at which a direction crosses the decision boundary."""

from typing import NamedTuple

import tensorflow as tf

from mma_tf.attacks.arguments import check_num_steps, frozen
from mma_tf.box import clip_to_box
from mma_tf.losses.soft_logit_margin import soft_logit_margin_loss
from mma_tf.per_example import over_pixels, to_batch
from mma_tf.types import LogitsFn, PerExample, PerExampleLoss, Tensor


class Bracket(NamedTuple):
    """Where the boundary is along a direction; each field `[batch]`.

    Attributes:
        lower: The longest probe that was still classified right, or 0.
        upper: The shortest probe that was seen to be adversarial, or `max_eps`.
        eps: The middle of the two, not probed.
        found: Whether any probe was adversarial. If not, no boundary was found up to
            `max_eps`: the margin is reported as "more than `max_eps`".
    """

    lower: Tensor
    upper: Tensor
    eps: Tensor
    found: Tensor


def boundary_search(
    logits_fn: LogitsFn,
    images: Tensor,
    labels: Tensor,
    *,
    direction: Tensor,
    first_eps: PerExample,
    max_eps: PerExample,
    num_search_steps: int,
    loss: PerExampleLoss = soft_logit_margin_loss,
) -> Bracket:
    """Returns the bracket of the length at which `loss` becomes >= 0.

    Halves [0, `max_eps`] by probing clip(images + eps * direction): where the loss is
    negative the lower end rises to eps, elsewhere the upper end falls to it. The first
    probe is at `first_eps`, the next ones at the middle. Costs `num_search_steps`
    forward passes and no gradient.

    Args:
        logits_fn: Images to logits `[batch, classes]`, in inference mode.
        images: `[batch, ...]`, floating, in [0, 1].
        labels: `[batch]`, whole numbers in [0, classes).
        direction: `[batch, ...]`, displacement for a length of 1.
        first_eps: A scalar or `[batch]` in [0, `max_eps`].
        max_eps: A scalar or `[batch]` > 0, the longest length that is looked at.
        num_search_steps: How many probes, >= 0.
        loss: `(labels, logits) -> [batch]`, negative where classified right.

    Raises:
        ValueError: If `num_search_steps` is negative or a length has a wrong shape.

    Reference: Ding et al., ICLR 2020 (arXiv 1812.02637), section 2.
    """
    check_num_steps("num_search_steps", num_search_steps)
    upper = to_batch(max_eps, images)
    eps = to_batch(first_eps, images)
    logits_fn = frozen(logits_fn)

    def probe(iteration: Tensor, bracket: Bracket) -> tuple[Tensor, Bracket]:
        points = clip_to_box(images + over_pixels(bracket.eps, images) * direction)
        # A loss that is no number is not that of a point classified right.
        adversarial = ~(loss(labels, logits_fn(points)) < 0)
        lower = tf.where(adversarial, bracket.lower, bracket.eps)
        upper = tf.where(adversarial, bracket.eps, bracket.upper)
        found = bracket.found | adversarial
        return iteration + 1, Bracket(lower, upper, (lower + upper) / 2, found)

    start = Bracket(
        tf.zeros_like(upper), upper, eps, tf.zeros_like(upper, dtype=tf.bool)
    )
    _, bracket = tf.while_loop(
        lambda iteration, bracket: iteration < num_search_steps,
        probe,
        (tf.constant(0), start),
        parallel_iterations=1,
        maximum_iterations=num_search_steps,
    )
    return bracket
