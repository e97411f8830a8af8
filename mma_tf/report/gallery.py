"""The picture of images beside their nearest errors."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mma_tf.evaluation.results import Evaluation
from mma_tf.report.drawing import new_figure, shorten, styled

# A light grey: no image, and not the grey of "no change".
_NOTHING = 0.93


@styled
def gallery_figure(evaluation: Evaluation, class_names: Sequence[str] = ()) -> Figure:
    """Returns images beside their nearest errors and the change, magnified.

    The change is magnified so that its largest part is full scale; grey is no change.

    Args:
        evaluation: With at least one example in its gallery.
        class_names: In the order of the labels; by default the numbers.
    """
    gallery = evaluation.gallery
    shown = len(gallery.labels)
    # Four rows of two examples stand better on a page than eight rows.
    blocks = 1 if shown <= 3 else 2
    rows = math.ceil(shown / blocks)
    figure = new_figure(0.2 + 5.1 * blocks, 0.45 + 2.1 * rows)
    figure.suptitle(
        f"{shorten(evaluation.model, 52 * blocks)}: nearest errors found, "
        f"{evaluation.norm}",
        fontsize=10,
        x=0.01,
        ha="left",
    )
    # Between the two blocks a narrow column stays empty.
    widths = [1.0, 1.0, 1.0, 0.1, 1.0, 1.0, 1.0][: 4 * blocks - 1]
    panels = figure.subplots(rows, len(widths), squeeze=False, width_ratios=widths)
    for axes in panels.flat:
        axes.set_axis_off()
    for at in range(shown):
        row, block = divmod(at, blocks)
        image, axes = gallery.images[at], panels[row, 4 * block : 4 * block + 3]
        size = float(gallery.sizes[at])
        label = _class_name(gallery.labels[at], class_names)
        _show(axes[0], image, f"image {gallery.indices[at]}:\n{label}")
        if not math.isfinite(size):
            _show(axes[1], np.full_like(image, _NOTHING), "no error\nfound")
            continue
        prediction = _class_name(gallery.predictions[at], class_names)
        _show(axes[1], gallery.adversarial[at], f"taken for:\n{prediction}")
        change = gallery.adversarial[at].astype(np.float64) - image
        largest = float(np.max(np.abs(change)))
        if largest == 0:
            _show(axes[2], np.full_like(image, 0.5), "wrong as it is,\nno change")
            continue
        text = f"change x {1 / largest:.3g}\n{evaluation.norm} {size:.4g}"
        _show(axes[2], 0.5 + 0.5 * change / largest, text)
    return figure


def _class_name(label: int, class_names: Sequence[str]) -> str:
    known = 0 <= label < len(class_names)
    return shorten(str(class_names[label]) if known else str(label), 20)


def _show(axes: Axes, image: np.ndarray, title: str) -> None:
    is_colour = image.shape[-1] == 3
    axes.imshow(
        np.clip(image if is_colour else np.mean(image, axis=-1), 0, 1),
        cmap=None if is_colour else "gray",
        vmin=0,
        vmax=1,
        interpolation="nearest",
    )
    axes.set_title(title, fontsize=9)
