"""Projected gradient descent inside balls of given radii."""

import tensorflow as tf

from mma_tf.attacks.arguments import (
    as_images,
    as_labels,
    as_radii,
    check_num_steps,
    check_step_size,
    frozen,
)
from mma_tf.attacks.gradients import value_and_gradient
from mma_tf.attacks.random_search import random_search
from mma_tf.losses.cross_entropy import cross_entropy
from mma_tf.norms.registry import get_norm
from mma_tf.per_example import over_pixels, to_batch
from mma_tf.types import (
    LogitsFn,
    NormName,
    PerExample,
    PerExampleLoss,
    Seed,
    Tensor,
    TensorLike,
)


def pgd(
    logits_fn: LogitsFn,
    images: TensorLike,
    labels: TensorLike,
    *,
    norm: NormName,
    eps: PerExample,
    num_steps: int | Tensor,
    step_size: PerExample,
    step_decay: bool = False,
    random_start: bool = True,
    start: TensorLike | None = None,
    num_start_queries: int = 0,
    loss: PerExampleLoss = cross_entropy,
    seed: Seed = 0,
) -> Tensor:
    """Returns images in the `eps`-balls around `images` that raise the loss.

    linf: x <- x + step_size * sign(gradient); l2: x <- x + step_size * gradient /
    |gradient|; each time brought back into the ball and the box. The gradient is taken
    with respect to the images alone: no gradient of a weight is computed.

    Args:
        logits_fn: Images to logits `[batch, classes]`, in inference mode.
        images: `[batch, ...]`, floating, pixels in [0, 1].
        labels: `[batch]`, whole numbers in [0, classes).
        norm: "linf" or "l2".
        eps: Radius of the ball, a scalar or `[batch]`, in pixel units.
        num_steps: How many gradient steps, >= 0; may be an int32 tensor.
        step_size: Length of a step, a scalar or `[batch]`, in pixel units.
        step_decay: Whether the steps become shorter in a line, towards 0, `step_size`
            being their mean: a wide search first, then a fine one.
        random_start: Whether to start at a random point of the ball and the box (linf:
            uniform in the ball; l2: a uniform point of the box, scaled back into the
            ball) instead of at the image.
        start: `[batch, ...]` points of the ball and the box to start at instead.
        num_start_queries: Start instead at the best point that a random search of so
            many queries finds, which itself begins at `start`, if given, see
            `random_search`; 0 for none.
        loss: `(labels, logits) -> [batch]`, what is made large.
        seed: A whole number or a `[2]` integer tensor; the same seed gives the same
            random start.

    Returns:
        The last iterate, shape and dtype of `images`, inside ball and box.

    Raises:
        ValueError: If `norm` is unknown, `eps` or `step_size` is negative or of a wrong
            shape, a number of steps or queries is negative, `logits_fn` has no
            gradient, or there are start queries and images that are not
            `[batch, height, width, channels]`; or, outside of a graph, if pixels or
            labels are out of range.
        TypeError: If `images` are not floating, or `labels` not whole numbers.

    Reference: Madry et al., ICLR 2018 (arXiv 1706.06083), section 2.1.
    """
    geometry = get_norm(norm)
    images, labels = as_images(images), as_labels(labels)
    radii = as_radii("eps", eps, images, norm=geometry)
    check_num_steps("num_steps", num_steps)
    check_num_steps("num_start_queries", num_start_queries)
    check_step_size("step_size", step_size)
    lengths = over_pixels(to_batch(step_size, images), images)
    logits_fn = frozen(logits_fn)

    def values_at(points: Tensor) -> tuple[Tensor, Tensor]:
        logits = logits_fn(points)
        return loss(labels, logits), logits

    def step(iteration: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        _, gradients = value_and_gradient(values_at, points)
        length = lengths
        if step_decay:
            left = tf.cast(num_steps - iteration, lengths.dtype)
            length *= 2 * left / tf.cast(num_steps + 1, lengths.dtype)
        points = points + length * geometry.ascent_direction(gradients)
        return iteration + 1, geometry.project(points, images, radii)

    points = images
    if num_start_queries:
        points = random_search(
            logits_fn,
            images,
            labels,
            norm=norm,
            eps=radii,
            num_queries=num_start_queries,
            start=start,
            seed=seed,
        )
    elif start is not None:
        points = tf.convert_to_tensor(start)
    elif random_start:
        points = geometry.random_start(images, radii, seed)
    _, points = tf.while_loop(
        lambda iteration, points: iteration < num_steps,
        step,
        (tf.constant(0), points),
        parallel_iterations=1,
        maximum_iterations=num_steps,
    )
    return tf.stop_gradient(points)
