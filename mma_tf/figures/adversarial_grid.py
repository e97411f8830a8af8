"""Images, the smallest perturbations found for several models, and what these say."""

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mma_tf.errors import UserError
from mma_tf.evaluation.judging import estimate_margins
from mma_tf.report.drawing import new_figure, shorten, styled
from mma_tf.types import LogitsFn, NormName

# As many as an evaluation keeps adversarial images of.
MOST_IMAGES = 8
_PANEL = 1.35


@styled
def adversarial_grid_figure(
    models: Mapping[str, LogitsFn],
    images: np.ndarray,
    labels: np.ndarray,
    *,
    norm: NormName,
    num_images: int = 5,
    class_names: Sequence[str] = (),
    seed: int = 0,
) -> Figure:
    """Returns a grid: a row an image; beside it, for each model, its nearest error.

    Under each error: the class that the model sees, and the distance.

    Args:
        models: By name: images `[batch, ...]` in [0, 1] to logits `[batch, classes]`.
        images: `[n, height, width, channels]` float32 in [0, 1], of which the first are
            shown that every model classifies right.
        labels: `[n]`.
        norm: "linf" or "l2".
        num_images: How many are shown at most, up to `MOST_IMAGES`.
        class_names: In the order of the labels; by default the numbers.
        seed: Of the attacks.

    Raises:
        UserError: If there is no image that every model classifies right.
    """
    right = np.ones(len(images), bool)
    for logits_fn in models.values():
        logits = np.asarray(logits_fn(tf.constant(images)))
        right &= np.argmax(logits, axis=-1) == labels
    shown = np.flatnonzero(right)[: min(num_images, MOST_IMAGES)]
    if not len(shown):
        raise UserError(
            "Invalid `--model`: expected models that classify some image right, all of "
            f"them. Received: {', '.join(models)}"
        )
    images, labels = images[shown], labels[shown]
    figure = new_figure(
        0.4 + _PANEL * (1 + len(models)), 0.9 + (_PANEL + 0.2) * len(shown)
    )
    panels = figure.subplots(len(shown), 1 + len(models), squeeze=False)
    for row, image, label in zip(panels, images, labels, strict=True):
        _show(row[0], image, _name(label, class_names))
    panels[0, 0].set_title("image", fontsize=8)
    for column, (name, logits_fn) in zip(panels.T[1:], models.items(), strict=True):
        gallery = estimate_margins(
            logits_fn, images, labels, norm=norm, seed=seed
        ).gallery
        column[0].set_title(shorten(name, 22), fontsize=8)
        for axes, error, size, prediction in zip(
            column,
            gallery.adversarial,
            gallery.sizes,
            gallery.predictions,
            strict=True,
        ):
            if np.isfinite(size):
                _show(axes, error, f"{_name(prediction, class_names)}, {size:.3f}")
            else:
                _show(axes, np.full_like(error, 0.93), "none found")
    figure.supxlabel(
        f"the class seen, and the {norm} distance (upper bound of the margin)",
        fontsize=8,
    )
    return figure


def _name(label: int, class_names: Sequence[str]) -> str:
    known = 0 <= label < len(class_names)
    return shorten(str(class_names[label]) if known else str(label), 14)


def _show(axes: Axes, image: np.ndarray, text: str) -> None:
    axes.imshow(
        np.clip(image if image.shape[-1] == 3 else image[..., 0], 0, 1),
        cmap=None if image.shape[-1] == 3 else "gray",
        vmin=0,
        vmax=1,
        interpolation="nearest",
    )
    axes.set_xlabel(text, fontsize=8, labelpad=2)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
