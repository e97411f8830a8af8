"""Signs in what a suite found that its attacks say too little of the classifier.

After Carlini et al., 2019 (arXiv 1902.06705), section 5, and the flags of AutoAttack.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from mma_tf.attacks.iterative import search
from mma_tf.attacks.square import Square
from mma_tf.evaluation.results import Check, StageResult
from mma_tf.types import LogitsFn, NormName, Tensor

# Shares of the examples.
_BLACK_BOX_GAIN = 0.002
_BROKEN_SHARE = 0.01
_FEWEST_RIGHT = 50
_PROBE_QUERIES = 300


def grid_does_not_fall(
    eps: Sequence[float], robust: np.ndarray, correct: np.ndarray
) -> Check | None:
    """Returns whether twice the radius broke no further image, though some did break.

    Args:
        eps: Radii in ascending order.
        robust: `[radii, examples]` which withstood all attacks.
        correct: `[examples]` which are right without one.

    Returns:
        None where the radii, or the images that are left, are too few to tell.
    """
    first, last = int(np.sum(robust[0])), int(np.sum(robust[-1]))
    if eps[-1] < 2 * eps[0] or first < _FEWEST_RIGHT:
        return None
    broken = int(np.sum(correct)) - first
    return Check(
        name="accuracy falls over the grid",
        flagged=broken > _BROKEN_SHARE * len(correct) and last == first,
        found=f"{first} images withstand eps {eps[0]:.4g}, {last} eps {eps[-1]:.4g}.",
        meaning=(
            "Twice the radius breaks further images of every known classifier; where "
            "it breaks none, the attacks are stuck."
        ),
        advice="Look at the other checks, and judge with suite black_box as well.",
    )


def took_gradients(stages: Sequence[StageResult]) -> bool:
    """Returns whether an attack took gradients of the classifier itself."""
    return any(stage.backward_passes and stage.source is None for stage in stages)


def black_box_wins(stages: Sequence[StageResult], num_examples: int) -> list[Check]:
    """Returns whether attacks without gradients broke what those with them left.

    Args:
        stages: The attacks at each radius, in their order.
        num_examples: How many were judged.

    Returns:
        One check for each radius; none where not both kinds were made.
    """
    if not took_gradients(stages):
        return []
    worst: dict[float, StageResult] = {}
    for stage in stages:
        is_black_box = stage.source is None and not stage.backward_passes
        if is_black_box and stage.eps is not None:
            so_far = worst.setdefault(stage.eps, stage)
            worst[stage.eps] = max(so_far, stage, key=lambda s: s.num_fooled)
    return [
        _black_box_check(
            stage.num_fooled / num_examples,
            f"{stage.name} at eps {eps:.4g} broke {stage.num_fooled} of the "
            f"{stage.num_attacked} images that the attacks before it left right.",
            eps,
        )
        for eps, stage in worst.items()
    ]


def black_box_probe(
    logits_fn: LogitsFn,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    norm: NormName,
    eps: float,
    seed: Tensor,
) -> Check:
    """Returns whether a short Square attack breaks what white-box attacks left right.

    Its errors are not counted in the suite's figures.

    Args:
        logits_fn: Images to logits `[batch, classes]`.
        images: `[n, ...]` float32 in [0, 1] that no attack of the suite broke.
        labels: `[n]`.
        norm: "linf" or "l2".
        eps: Radius of the ball.
        seed: Of its random numbers.
    """
    attack = Square(norm, _PROBE_QUERIES, rescale_schedule=True)
    found = tf.function(
        lambda images, labels: search(
            attack, logits_fn, images, labels, eps=eps, seed=seed, stop_in_ball=True
        )
    )(tf.constant(images), tf.constant(labels, tf.int32))
    broken = int(np.sum(np.isfinite(found.size.numpy())))
    return _black_box_check(
        broken / len(images),
        f"Square with {_PROBE_QUERIES} queries at eps {eps:.4g} broke {broken} of "
        f"{len(images)} images that the suite left right (not counted in its figures).",
        eps,
    )


def _black_box_check(share: float, found: str, eps: float) -> Check:
    return Check(
        name="black-box attacks add nothing",
        eps=eps,
        flagged=share > _BLACK_BOX_GAIN,
        found=found,
        meaning=(
            "An attack that sees less should find less: gradients are masked, and the "
            "robust accuracy is likely lower still."
        ),
        advice="Run suite black_box, and an attack adapted to the model.",
    )


def left_the_ball(num_outside: int, num_denied: int) -> Check:
    """Returns whether points of attacks were refused when they were checked again.

    Args:
        num_outside: Points outside the ball or the box.
        num_denied: Points that the classifier got right when asked again.
    """
    return Check(
        name="attacks keep to ball and box",
        flagged=num_outside + num_denied > 0,
        found=(
            f"{num_outside} points were outside the ball or the box, {num_denied} were "
            "classified right when asked again; none of them is counted."
        ),
        meaning=(
            "A point outside is no error at this radius; a model that changes its mind "
            "is random or decides within rounding."
        ),
        advice=(
            "Report the first as a defect of this program; for the second, look at "
            "whether the model is deterministic."
        ),
    )
