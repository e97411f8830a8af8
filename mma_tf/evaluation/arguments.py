"""What an evaluation can take as images, labels and radii."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from mma_tf.errors import UserError
from mma_tf.inputs import check_classes, check_pixels
from mma_tf.norms.registry import get_norm


class ImageSource(Protocol):
    """Images that are made when they are asked for; a float numpy array is one, too."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Is [examples, height, width, channels]."""

    def __getitem__(self, places: Any) -> np.ndarray:
        """Returns the images at `places` `[n]`, floating, in [0, 1]."""


def checked_radii(
    eps: float | Sequence[float], suite: str, norm: str, shape: tuple[int, ...]
) -> tuple[float, ...]:
    """Returns the radii in ascending order, each once.

    Args:
        eps: One or several, in pixel units.
        suite: "margins" has none.
        norm: "linf" or "l2".
        shape: Of the images, `[examples, ...]`.

    Raises:
        UserError: If one is not > 0, or larger than the box of all images.
    """
    values = np.atleast_1d(np.asarray(eps, np.float64))
    if suite == "margins":
        if len(values):
            raise UserError(
                "Invalid `eps`: suite margins searches all lengths; leave eps out. "
                f"Received: eps={eps}"
            )
        return ()
    highest = get_norm(norm).diameter(int(np.prod(shape[1:])))
    if not len(values) or not np.all((values > 0) & (values <= highest)):
        shown = ", ".join(f"{value:g}" for value in values) or "none"
        raise UserError(
            f"Invalid `eps`: expected one or more lengths > 0 and at most {highest:g} "
            f"in {norm}, since images are in [0, 1]. Received: eps={shown} (did you "
            "mean 8/255?)"
        )
    return tuple(sorted(set(values.tolist())))


def checked_images(
    images: ImageSource | np.ndarray, labels: np.ndarray, batch_size: int
) -> tuple[Callable[[np.ndarray], np.ndarray], str]:
    """Returns the function from places `[n]` to images float32, once all are seen.

    Returns:
        The function, and the SHA-256 of all images.

    Raises:
        UserError: If there are none, they are not `[examples, height, width,
            channels]`, labels are not as many, or pixels not in [0, 1].
    """
    if len(images.shape) != 4:
        raise UserError(
            "Invalid `images`: expected [examples, height, width, channels]. Received: "
            f"shape={tuple(images.shape)}"
        )
    number = images.shape[0]
    if batch_size < 1:
        raise UserError(
            f"Invalid `batch_size`: expected >= 1. Received: batch_size={batch_size}"
        )
    if number == 0 or number != len(labels):
        raise UserError(
            "Invalid `images`: expected at least one, and a label for each. Received: "
            f"{number} images, {len(labels)} labels"
        )

    def fetch(places: np.ndarray) -> np.ndarray:
        return np.asarray(images[places], np.float32)

    digest = hashlib.sha256()
    for start in range(0, number, batch_size):
        batch = fetch(np.arange(start, min(start + batch_size, number)))
        check_pixels(float(np.min(batch)), float(np.max(batch)))
        digest.update(batch.tobytes())
    return fetch, digest.hexdigest()


def check_num_shards(num_shards: int, num_examples: int) -> None:
    """Makes sure of the number of parts of the examples.

    Raises:
        UserError: If it is not at least 1, and at most one an example.
    """
    if not 1 <= num_shards <= num_examples:
        raise UserError(
            f"Invalid `num_shards`: expected at least 1 and at most {num_examples}, "
            f"one an example. Received: num_shards={num_shards}"
        )


def check_labels(labels: np.ndarray, num_classes: int) -> None:
    """Makes sure of labels `[examples]`.

    Raises:
        UserError: If they are not whole numbers in [0, num_classes).
    """
    if not np.issubdtype(labels.dtype, np.integer):
        raise UserError(
            f"Invalid `labels`: expected whole numbers. Received: dtype={labels.dtype}"
        )
    check_classes(labels.min(), labels.max(), num_classes)
