"""What one gradient step does to the margin, depending on where the loss is taken.

The idea of Figure 2 of Ding et al., ICLR 2020 (arXiv 1812.02637), on a real network.
"""

import keras
import numpy as np
import tensorflow as tf
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mma_tf.losses.logit_margin import logit_margin_loss
from mma_tf.losses.soft_logit_margin import soft_logit_margin_loss
from mma_tf.report.drawing import WIDTH, new_figure, styled

_POINT = 0.3
_STEP = 0.5
_GRID = np.linspace(0, 1, 2001)


@styled
def one_dimension_figure(*, seed: int = 0) -> Figure:
    """Returns the loss of a network of one input before and after a step, three times.

    The steps have one length and differ in where the loss is taken whose gradient they
    follow: at the image, at the nearest error, and beyond it.

    Args:
        seed: Of the network.
    """
    network = _network(seed)
    before = _loss(network)
    margin = _margin(before)
    nearest = _POINT + margin * _side(before)
    figure = new_figure(WIDTH + 1.0, 3.8)
    panels = figure.subplots(1, 3, sharex=True, sharey=True)
    places = (
        ("at the image", _POINT),
        ("at the nearest error", nearest),
        ("beyond it", float(np.clip(nearest + 1.5 * (nearest - _POINT), 0, 1))),
    )
    for axes, (name, place) in zip(panels, places, strict=True):
        after = _loss(_moved(network, place))
        _draw(axes, before, after, place)
        change = _margin(after) - margin
        axes.set_title(
            f"step on the loss\n{name}:\nmargin {margin:.3f} {change:+.4f}",
            loc="left",
            fontsize=9,
        )
    panels[0].set_ylabel("L_LM (an error from 0 on)")
    panels[1].set_xlabel("input; circle: the image, cross: where the step's loss is")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=4)
    return figure


def _network(seed: int) -> keras.Model:
    """Returns a network that has learnt which of two intervals an input is in."""
    keras.utils.set_random_seed(seed)
    network = keras.Sequential(
        [
            keras.Input((1,), dtype="float64"),
            keras.layers.Rescaling(4.0, -2.0, dtype="float64"),
            keras.layers.Dense(8, activation="tanh", dtype="float64"),
            keras.layers.Dense(2, dtype="float64"),
        ]
    )
    inputs = np.array([[0.1], [0.3], [0.42], [0.48], [0.8], [0.95]])
    labels = np.array([0, 0, 0, 1, 1, 1])
    network.compile(
        keras.optimizers.Adam(0.05),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    network.fit(inputs, labels, epochs=40, batch_size=6, shuffle=False, verbose=0)
    return network


def _moved(network: keras.Model, place: float) -> keras.Model:
    """Returns the network after one step that lowers the loss at `place`."""
    weights = network.trainable_variables
    with tf.GradientTape() as tape:
        logits = network(tf.constant([[place]], tf.float64))
        loss = soft_logit_margin_loss(tf.constant([0]), logits)[0]
    gradients = tape.gradient(loss, weights)
    length = tf.linalg.global_norm(gradients)
    moved = keras.models.clone_model(network)
    moved.set_weights(
        [
            weight.numpy() - _STEP * gradient.numpy() / length.numpy()
            for weight, gradient in zip(weights, gradients, strict=True)
        ]
    )
    return moved


def _loss(network: keras.Model) -> np.ndarray:
    logits = network(tf.constant(_GRID[:, None]))
    return logit_margin_loss(np.zeros(len(_GRID), np.int32), logits).numpy()


def _margin(loss: np.ndarray) -> float:
    """Returns how far from the image the loss first is 0, on either side."""
    changes = np.flatnonzero((loss[:-1] < 0) != (loss[1:] < 0))
    # Between two points of the grid the loss is a line, nearly.
    shares = loss[changes] / (loss[changes] - loss[changes + 1])
    zeros = _GRID[changes] + shares * (_GRID[1] - _GRID[0])
    return float(np.min(np.abs(zeros - _POINT), initial=np.inf))


def _side(loss: np.ndarray) -> int:
    """Returns on which side of the image the nearest error is: 1 or -1."""
    errors = _GRID[loss >= 0]
    return int(np.sign(errors[np.argmin(np.abs(errors - _POINT))] - _POINT))


def _draw(axes: Axes, before: np.ndarray, after: np.ndarray, place: float) -> None:
    axes.axhline(0, color="black", linewidth=0.8)
    axes.plot(_GRID, before, color="#0072B2", linewidth=1.5, label="before")
    axes.plot(_GRID, after, "--", color="#D55E00", linewidth=1.5, label="after")
    axes.plot(
        [_POINT],
        [before[np.argmin(np.abs(_GRID - _POINT))]],
        "o",
        markerfacecolor="white",
        markeredgecolor="black",
        label="the image",
    )
    axes.plot(
        [place],
        [before[np.argmin(np.abs(_GRID - place))]],
        "x",
        color="black",
        markersize=8,
        label="the step's loss",
    )
