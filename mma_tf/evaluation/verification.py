"""Whether a point is what an attack says: near, an image, and misclassified.

Reckoned in numpy and float64, apart from all code of the attacks.
"""

from typing import Any, NamedTuple

import numpy as np

from mma_tf.types import NormName

# (x + eps) - x of float32 exceeds eps by up to 6e-8; over the pixels of l2 it adds up.
_ABSOLUTE_TOLERANCE = 1e-6
_RELATIVE_TOLERANCE = 1e-5


class Verdict(NamedTuple):
    """What is true of points; each field `[n]`.

    Attributes:
        inside: Whether the point is in the box and in the ball.
        error: Whether it is misclassified: a tie, or no number, counts as an error.
        distance: From the image, in the norm.
        prediction: The class with the largest logit.
    """

    inside: np.ndarray
    error: np.ndarray
    distance: np.ndarray
    prediction: np.ndarray


def verify(
    points: np.ndarray,
    images: np.ndarray,
    labels: np.ndarray,
    logits: np.ndarray,
    *,
    norm: NormName,
    eps: np.ndarray,
) -> Verdict:
    """Returns what is true of points that an attack gave.

    Args:
        points: `[n, ...]` float32.
        images: `[n, ...]` float32, what was attacked.
        labels: `[n]`.
        logits: `[n, classes]` of `points`, from the classifier that is judged.
        norm: "linf" or "l2".
        eps: `[n]` radii that they keep to, in pixel units.
    """
    deltas = points.astype(np.float64) - images.astype(np.float64)
    flat = np.abs(deltas).reshape(len(deltas), -1)
    distance = flat.max(axis=1) if norm == "linf" else np.linalg.norm(flat, axis=1)
    flat_points = points.reshape(len(points), -1)
    in_box = np.all((flat_points >= 0) & (flat_points <= 1), axis=1)
    return Verdict(
        inside=in_box & is_within(distance, eps),
        error=misclassified(labels, logits),
        distance=distance,
        prediction=np.argmax(logits, axis=1),
    )


def is_within(distance: Any, eps: Any) -> Any:
    """Returns whether distances are at most `eps`, but for rounding in float32.

    Args:
        distance: A number or `[n]`.
        eps: A number or `[n]`.
    """
    return distance <= eps * (1 + _RELATIVE_TOLERANCE) + _ABSOLUTE_TOLERANCE


def misclassified(labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Returns where the logit of some wrong class is not below the true one's, `[n]`.

    Args:
        labels: `[n]`, whole numbers in [0, classes).
        logits: `[n, classes]`.
    """
    rows = np.arange(len(labels))
    others = logits.astype(np.float64).copy()
    true = others[rows, labels]
    others[rows, labels] = -np.inf
    return ~(others.max(axis=1) < true)
