"""The picture of `costs.py`."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from mma_tf.report.drawing import COLOURS, new_figure, png_bytes, styled

_LABELS = {
    "attack_steps": "PGD steps",
    "batch_size": "batch",
    "num_examples": "training images",
    "logical_devices": "logical devices (2 cores), batch 128",
}


@styled
def draw(
    sweeps: Mapping[str, Sequence[tuple[int, float]]], memory: Sequence[float]
) -> bytes:
    """Returns a PNG file.

    Args:
        sweeps: By the name of what grows: (value, seconds of a step).
        memory: GiB after each epoch.
    """
    figure = new_figure(10.0, 5.6)
    grid = list(figure.subplots(2, 3).flat)
    for name, found in sweeps.items():
        axes = grid.pop(0)
        _plot(axes, *zip(*found, strict=True))
        axes.set_xlabel(_LABELS[name])
        axes.set_ylabel("seconds of a step")
    axes = grid.pop(0)
    per_image = [(batch, 1e3 * cost / batch) for batch, cost in sweeps["batch_size"]]
    _plot(axes, *zip(*per_image, strict=True))
    axes.set_xlabel(_LABELS["batch_size"])
    axes.set_ylabel("milliseconds an image")
    axes = grid.pop(0)
    _plot(axes, range(1, len(memory) + 1), memory)
    axes.set_xlabel("epoch of 60,000 images")
    axes.set_ylabel("resident memory, GiB")
    return png_bytes(figure)


def _plot(axes: Axes, values: Sequence[int], costs: Sequence[float]) -> None:
    axes.plot(values, costs, "o-", color=COLOURS[0])
    axes.set_xlim(left=0)
    axes.set_ylim(0, 1.15 * max(costs, default=1.0))
