"""AN-PGD: PGD of an adaptive length, then a line search for the boundary."""

import tensorflow as tf

from mma_tf.attacks.arguments import (
    as_images,
    as_labels,
    as_radii,
    check_step_size,
    frozen,
)
from mma_tf.attacks.boundary_search import boundary_search
from mma_tf.attacks.pgd import pgd
from mma_tf.box import clip_to_box
from mma_tf.losses.soft_logit_margin import soft_logit_margin_loss
from mma_tf.norms.registry import get_norm
from mma_tf.per_example import over_pixels, select
from mma_tf.types import LogitsFn, NormName, PerExample, Seed, Tensor, TensorLike


def an_pgd(
    logits_fn: LogitsFn,
    images: TensorLike,
    labels: TensorLike,
    *,
    norm: NormName,
    initial_eps: PerExample,
    max_eps: PerExample,
    num_steps: int | Tensor,
    num_search_steps: int = 10,
    step_size_factor: float = 2.5,
    step_decay: bool = False,
    random_start: bool = True,
    start_direction: TensorLike | None = None,
    num_start_queries: int = 0,
    seed: Seed = 0,
) -> tuple[Tensor, Tensor]:
    """Returns approximately the nearest boundary points and how far away they are.

    PGD on L_SLM in the ball of radius `initial_eps`, with steps of `step_size_factor` *
    `initial_eps` / `num_steps`, gives a direction; `num_search_steps` bisections along
    it look for the zero of L_SLM in [0, `max_eps`].

    Args:
        logits_fn: Images to logits `[batch, classes]`, in inference mode.
        images: `[batch, ...]`, floating, pixels in [0, 1].
        labels: `[batch]`, whole numbers in [0, classes).
        norm: "linf" or "l2".
        initial_eps: A scalar or `[batch]` in pixel units: the radius of the PGD, and
            the search's first probe. Longer than `max_eps` is taken as `max_eps`.
        max_eps: A scalar or `[batch]` in pixel units: the longest length searched.
        num_steps: How many PGD steps; may be an int32 tensor, of a schedule say.
        num_search_steps: How many bisections, a forward pass each.
        step_size_factor: Length of a PGD step, in units of `initial_eps / num_steps`.
        step_decay: See `mma_tf.attacks.pgd`.
        random_start: See `mma_tf.attacks.pgd`.
        start_direction: `[batch, ...]`, displacement for a length of 1: PGD starts at
            images + initial_eps * start_direction, projected to the ball and the box.
            An example whose direction is 0 has the start that `random_start` says.
        num_start_queries: See `mma_tf.attacks.pgd`.
        seed: See `mma_tf.attacks.pgd`.

    Returns:
        Images clip(images + eps * direction), shape and dtype of `images`, and `eps`
        `[batch]`: the middle of the last bracket, which was not probed itself and may
        be on either side of the boundary. This is what training uses; to report
        margins, use the adversarial end (`mma_tf.evaluation.an_pgd_margins`).

    Raises:
        ValueError: If `norm` is unknown, a length is negative or of a wrong shape, or a
            number of steps or queries is negative, or if there are start queries and
            images that are not `[batch, height, width, channels]`; or, outside of a
            graph, if pixels or labels are out of range.
        TypeError: If `images` are not floating, or `labels` not whole numbers.

    Reference: Ding et al., ICLR 2020 (arXiv 1812.02637), section 2. Differs from the
    authors' code: the search sees the classifier in inference mode, as PGD does, and
    the images that are returned are clipped to the box.
    """
    geometry = get_norm(norm)
    check_step_size("step_size_factor", step_size_factor)
    logits_fn = frozen(logits_fn)
    images, labels = as_images(images), as_labels(labels)
    longest = as_radii("max_eps", max_eps, images, norm=geometry)
    radii = as_radii("initial_eps", initial_eps, images, norm=geometry)
    radii = tf.minimum(radii, longest)
    start = None
    if start_direction is not None:
        start = images
        if random_start:
            start = geometry.random_start(images, radii, seed)
        toward = tf.cast(tf.convert_to_tensor(start_direction), images.dtype)
        moved = images + over_pixels(radii, images) * toward
        moved = geometry.project(moved, images, radii)
        start = select(geometry.size(toward) > 0, moved, start)
    points = pgd(
        logits_fn,
        images,
        labels,
        norm=norm,
        eps=radii,
        num_steps=num_steps,
        step_size=step_size_factor * radii / _at_least_one(num_steps, radii.dtype),
        step_decay=step_decay,
        random_start=random_start,
        start=start,
        num_start_queries=num_start_queries,
        loss=soft_logit_margin_loss,
        seed=seed,
    )
    direction = tf.math.divide_no_nan(points - images, over_pixels(radii, images))
    bracket = boundary_search(
        logits_fn,
        images,
        labels,
        direction=direction,
        first_eps=radii,
        max_eps=longest,
        num_search_steps=num_search_steps,
    )
    found = clip_to_box(images + over_pixels(bracket.eps, images) * direction)
    return tf.stop_gradient(found), tf.stop_gradient(bracket.eps)


def _at_least_one(number: int | Tensor, dtype: tf.DType) -> Tensor:
    return tf.cast(tf.maximum(number, 1), dtype)
