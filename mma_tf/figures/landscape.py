"""The loss on a plane through an image: how flat it is, and where the boundary runs.

The idea of Figure 3 of Ding et al., ICLR 2020 (arXiv 1812.02637).
"""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from mma_tf.losses.soft_logit_margin import soft_logit_margin_loss
from mma_tf.norms.registry import get_norm
from mma_tf.report.drawing import WIDTH, new_figure, shorten, styled
from mma_tf.types import LogitsFn, NormName

_GRID = 61


@styled
def landscape_figure(
    models: Mapping[str, LogitsFn],
    image: np.ndarray,
    label: int,
    *,
    norm: NormName = "linf",
    reach: float = 0.4,
    seed: int = 0,
) -> Figure:
    """Returns L_SLM around an image for each model, on one scale.

    Across: the direction of the loss's gradient, of length 1 in the norm (linf: its
    signs). Up: a random direction that is orthogonal to it, of length 1 too. Pixels are
    not clipped, so that the plane is one.

    Args:
        models: By name: images `[batch, ...]` in [0, 1] to logits `[batch, classes]`.
        image: `[height, width, channels]` float32 in [0, 1].
        label: Its class.
        norm: Measures the directions, "linf" or "l2".
        reach: How far the plane goes to each side, in pixel units.
        seed: Of the random direction.
    """
    ticks = np.linspace(-reach, reach, _GRID)
    surfaces = {
        name: _surface(logits_fn, image, label, norm, ticks, seed)
        for name, logits_fn in models.items()
    }
    lowest = min(float(np.min(values)) for values in surfaces.values())
    highest = max(float(np.max(values)) for values in surfaces.values())
    # Of a loss that is the same everywhere there is one level to draw.
    levels = np.linspace(lowest, max(highest, lowest + 1e-3), 13)
    figure = new_figure(max(WIDTH, 3.2 * len(models)), 3.8)
    panels = figure.subplots(1, len(models), sharex=True, sharey=True, squeeze=False)
    for axes, (name, values) in zip(panels.flat, surfaces.items(), strict=True):
        filled = axes.contourf(ticks, ticks, values, levels=levels, cmap="cividis")
        lines = axes.contour(
            ticks, ticks, values, levels=levels[1::2], colors="white", linewidths=0.5
        )
        lines.set_linestyle("solid")
        axes.clabel(lines, fmt="%.0f", fontsize=6)
        if lowest < 0 < highest:
            axes.contour(
                ticks, ticks, values, levels=[0], colors="black", linewidths=2.0
            )
        axes.plot([0], [0], "o", markerfacecolor="white", markeredgecolor="black")
        axes.set_title(shorten(name, 36), loc="left", fontsize=9)
        axes.set_aspect("equal")
        axes.grid(False)
    panels[0, 0].set_ylabel("a random orthogonal direction")
    figure.supxlabel(
        f"the direction of the gradient ({norm}, pixel units); thick line: L_SLM = 0",
        fontsize=9,
    )
    figure.colorbar(
        filled, ax=list(panels.flat), label="L_SLM", shrink=0.8, format="%.0f"
    )
    return figure


def _surface(
    logits_fn: LogitsFn,
    image: np.ndarray,
    label: int,
    norm: NormName,
    ticks: np.ndarray,
    seed: int,
) -> np.ndarray:
    images = tf.constant(image[None])
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(images)
        loss = soft_logit_margin_loss(tf.constant([label]), logits_fn(images))
    gradient = tape.gradient(loss, images)
    geometry = get_norm(norm)
    along = geometry.ascent_direction(gradient).numpy()[0]
    rng = np.random.default_rng(seed)
    if not np.any(along):
        # A flat loss has no direction of its own.
        noise = tf.constant(rng.uniform(size=(1, *image.shape)))
        along = geometry.direction_of(noise).numpy()[0]
    aside = rng.choice([-1.0, 1.0], size=image.shape)
    aside -= along * np.sum(along * aside) / np.sum(along**2)
    aside /= geometry.size(tf.constant(aside[None])).numpy()[0]
    rows = []
    # A row at a time: the whole plane of large images would not fit into memory.
    for up in ticks:
        across = image + up * aside + ticks[:, None, None, None] * along
        logits = logits_fn(tf.constant(across.astype("float32")))
        labels = np.full(len(ticks), label, np.int32)
        rows.append(soft_logit_margin_loss(labels, logits).numpy())
    return np.array(rows)
