"""Which wrong classes a targeted attack tries."""

import numpy as np


def ranked_targets(
    labels: np.ndarray, logits: np.ndarray, num_targets: int
) -> np.ndarray:
    """Returns the likeliest wrong classes, the likeliest first, `[examples, targets]`.

    Args:
        labels: `[examples]`.
        logits: `[examples, classes]` of the clean images.
        num_targets: At most classes - 1.
    """
    others = logits.astype(np.float64).copy()
    others[np.arange(len(labels)), labels] = -np.inf
    return np.argsort(-others, axis=1, kind="stable")[:, :num_targets]
