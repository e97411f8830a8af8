"""Decision regions of networks of two inputs, and how far each point is from an error.

The idea of Figure 1 of Ding et al., ICLR 2020 (arXiv 1812.02637), on real networks.
"""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from mma_tf.report.drawing import WIDTH, new_figure, styled
from mma_tf.training.mma_model import MMAModel
from mma_tf.training.robust_model import RobustModel
from mma_tf.training.standard_model import StandardModel

_D_MAX = 0.15
_NUM_POINTS = 28
_NUM_STEPS = 800
_GRID = 300
# Told apart without colour: light and dark regions, hollow and filled points.
_REGIONS = ("#F2F2F2", "#C9C9C9")
_MARKERS = (("o", "white"), ("s", "black"))


@styled
def margin_figure(*, seed: int = 0) -> Figure:
    """Returns two networks side by side, trained on clean points and by MMA.

    Around each point that is classified right a circle of the radius of its margin in
    l2, and the way to the nearest point of the boundary, which a grid of the square
    gives: with two inputs no attack is needed.

    Args:
        seed: Of the points, the networks and the trainings.
    """
    points, labels = _points(seed)
    figure = new_figure(WIDTH, 4.1)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, name in zip(panels, ("trained on clean points", "MMA"), strict=True):
        classifier = _trained(name, points, labels, seed)
        margins = _draw(axes, classifier, points, labels)
        axes.set_title(
            f"{name}\nleast margin {np.min(margins):.3f}, average "
            f"{np.mean(margins):.3f}",
            loc="left",
            fontsize=10,
        )
    figure.supxlabel(
        "Shades: the two classes. Circles: margins in l2; lines: the shortest "
        "perturbations.",
        fontsize=9,
    )
    return figure


def _points(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns points of two classes that either input tells apart.

    Across, one line does it, and leaves small margins; up, it takes two lines, and the
    margins are large.
    """
    rng = np.random.default_rng(seed)
    labels = np.arange(_NUM_POINTS) % 2
    across = np.where(labels == 1, 0.53, 0.25) + rng.uniform(0, 0.22, _NUM_POINTS)
    rows = np.where(np.arange(_NUM_POINTS) % 4 < 2, 0.18, 0.82)
    up = np.where(labels == 1, 0.5, rows) + rng.normal(scale=0.025, size=_NUM_POINTS)
    points = np.stack([across, up], axis=1)
    return np.clip(points, 0, 1).astype("float32"), labels.astype("int32")


def _trained(
    name: str, points: np.ndarray, labels: np.ndarray, seed: int
) -> keras.Model:
    keras.utils.set_random_seed(seed)
    classifier = keras.Sequential(
        [
            keras.Input((2,)),
            keras.layers.Rescaling(4.0, -2.0),
            keras.layers.Dense(32, activation="relu"),
            keras.layers.Dense(32, activation="relu"),
            keras.layers.Dense(2),
        ]
    )
    model: RobustModel = StandardModel(classifier, seed=seed)
    if name == "MMA":
        model = MMAModel(
            classifier,
            norm="l2",
            d_max=_D_MAX,
            num_examples=len(points),
            seed=seed,
        )
    model.compile(keras.optimizers.Adam(0.01))
    data = tf.data.Dataset.from_tensor_slices(
        ({"image": points, "index": np.arange(len(points))}, labels)
    )
    batches = data.shuffle(len(points), seed=seed).batch(len(points)).repeat()
    model.fit(batches, steps_per_epoch=_NUM_STEPS, epochs=1, shuffle=False, verbose=0)
    return classifier


def _draw(
    axes: Axes,
    classifier: keras.Model,
    points: np.ndarray,
    labels: np.ndarray,
) -> list[float]:
    """Draws one network, and returns the margins of the points; 0 where it errs."""
    ticks = np.linspace(0, 1, _GRID, dtype="float32")
    grid = np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)
    logits = classifier.predict(grid, batch_size=len(grid), verbose=0)
    difference = (logits[:, 1] - logits[:, 0]).reshape(_GRID, _GRID)
    axes.contourf(
        ticks, ticks, difference, levels=[-np.inf, 0, np.inf], colors=_REGIONS
    )
    boundary = axes.contour(
        ticks, ticks, difference, levels=[0], colors="black", linewidths=1.2
    )
    is_right = classifier.predict(points, verbose=0).argmax(axis=1) == labels
    margins = [0.0] * int(np.sum(~is_right))
    # Without a boundary in the square there is no error to be near.
    for point in points[is_right] if boundary.allsegs[0] else ():
        error = _nearest(boundary.allsegs[0], point)
        size = float(np.linalg.norm(error - point))
        margins.append(size)
        axes.add_patch(Circle(point, size, fill=False, color="#0072B2", linewidth=0.6))
        axes.plot(*np.transpose([point, error]), color="#D55E00", linewidth=0.9)
    for label, (marker, face) in enumerate(_MARKERS):
        axes.plot(
            *points[labels == label].T,
            linestyle="none",
            marker=marker,
            markersize=4,
            markerfacecolor=face,
            markeredgecolor="black",
        )
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_aspect("equal")
    axes.grid(False)
    return margins


def _nearest(lines: Sequence[np.ndarray], point: np.ndarray) -> np.ndarray:
    """Returns the point of the lines that is nearest to `point`."""
    begins = np.concatenate([line[:-1] for line in lines])
    ways = np.concatenate([np.diff(line, axis=0) for line in lines])
    lengths = np.maximum(np.sum(ways**2, axis=1), 1e-18)
    shares = np.clip(np.sum((point - begins) * ways, axis=1) / lengths, 0, 1)
    places = begins + shares[:, None] * ways
    return places[np.argmin(np.linalg.norm(places - point, axis=1))]
