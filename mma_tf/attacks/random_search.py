"""A start for attacks with gradients, found without one."""

import tensorflow as tf

from mma_tf.attacks.arguments import as_images, as_labels, as_radii, check_num_steps
from mma_tf.attacks.iterative import Problem, advance
from mma_tf.attacks.square import Square
from mma_tf.noise import fold_in, seeds_like
from mma_tf.norms.registry import get_norm
from mma_tf.types import LogitsFn, NormName, PerExample, Seed, Tensor, TensorLike

# Share of the pixels that the first queries change. So few queries are all large
# windows: the small ones, with which the Square attack ends, found little.
_FIRST_SHARE = 0.2
# Of random numbers, apart from those of an attack that has the same seed.
_STREAM = 1


def random_search(
    logits_fn: LogitsFn,
    images: TensorLike,
    labels: TensorLike,
    *,
    norm: NormName,
    eps: PerExample,
    num_queries: int,
    start: TensorLike | None = None,
    seed: Seed = 0,
) -> Tensor:
    """Returns the best points of a random search in the `eps`-balls.

    The first queries of `Square` on the logit margin loss; an example is done with its
    first error. It needs no gradient, and so it gets where those of a classifier that
    was trained against PGD mislead: a start for `pgd`.

    Args:
        logits_fn: Images to logits `[batch, classes]`, in inference mode.
        images: `[batch, height, width, channels]`, floating, pixels in [0, 1].
        labels: `[batch]`, whole numbers in [0, classes).
        norm: "linf" or "l2".
        eps: Radius of the ball, a scalar or `[batch]`, in pixel units.
        num_queries: Forward passes after the first, >= 0.
        start: `[batch, height, width, channels]` points of the ball and the box, to
            begin at in place of the attack's own first proposal.
        seed: A whole number or a `[2]` integer tensor.

    Raises:
        ValueError: If `norm` is unknown, a length is negative or of a wrong shape,
            `num_queries` is negative, or `images` have another rank; or, outside of a
            graph, if pixels or labels are out of range.
        TypeError: If `images` are not floating, or `labels` not whole numbers.

    Reference: Andriushchenko et al., ECCV 2020 (arXiv 1912.00049).
    """
    images, labels = as_images(images), as_labels(labels)
    check_num_steps("num_queries", num_queries)
    attack = Square(norm, num_queries=num_queries, first_share=_FIRST_SHARE)
    problem = Problem(
        images=images,
        labels=labels,
        # The loss has no target.
        targets=labels,
        eps=as_radii("eps", eps, images, norm=get_norm(norm)),
        seeds=seeds_like(labels, fold_in(seed, _STREAM)),
    )
    state = attack.start(problem)
    if start is not None:
        points = tf.cast(tf.convert_to_tensor(start), images.dtype)
        state = state._replace(points=points, best_points=points)
    state, _ = advance(
        attack,
        logits_fn,
        problem,
        state,
        num_steps=attack.num_iterations,
        stop_in_ball=True,
    )
    return state.best_points
