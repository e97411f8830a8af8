"""How the margins of the validation images grow in training, from what runs recorded.

Figure 4 of Ding et al., ICLR 2020 (arXiv 1812.02637).
"""

import pathlib
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.animation import PillowWriter
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mma_tf.errors import UserError
from mma_tf.report.drawing import COLOURS, PERCENT, WIDTH, new_figure, shorten, styled

# Panels of one run, from the first validation to the last.
_NUM_PANELS = 5
# Bins of the records that make one of the picture.
_MERGED = 2
_FRAMES_PER_SECOND = 4

# Of a run, its validations as its validations.jsonl has them.
Validations = Sequence[Mapping[str, Any]]


@styled
def margins_during_training_figure(runs: Mapping[str, Validations]) -> Figure:
    """Returns histograms of margins: a row a run, a column a moment of the training.

    The moments are the same shares of each run's validations.

    Args:
        runs: By name, as `read_validations` gives them.

    Raises:
        UserError: If a run has no validation on record.
    """
    _check(runs)
    longest, highest = _limits(runs)
    figure = new_figure(WIDTH + 2.0, 0.9 + 1.7 * len(runs))
    columns = min(_NUM_PANELS, max(len(lines) for lines in runs.values()))
    panels = figure.subplots(
        len(runs), columns, sharex=True, sharey=True, squeeze=False
    )
    for at, (row, (name, lines)) in enumerate(zip(panels, runs.items(), strict=True)):
        moments = np.linspace(0, len(lines) - 1, columns).round().astype(int)
        for axes, moment in zip(row, moments, strict=True):
            _bars(axes, lines[moment], at)
            axes.set_title(f"step {lines[moment]['step']:,}", loc="left", fontsize=8)
        row[0].set_ylabel(shorten(name, 26), fontsize=8)
    _finish(figure, panels[0, 0], longest, highest)
    return figure


@styled
def margins_animation(runs: Mapping[str, Validations]) -> bytes:
    """Returns the same as a GIF: the runs side by side, a frame for each validation.

    A run that has fewer validations stands still at its last one.

    Args:
        runs: By name, as `read_validations` gives them.

    Raises:
        UserError: If a run has no validation on record.
    """
    _check(runs)
    longest, highest = _limits(runs)
    figure = new_figure(3.4 * len(runs), 3.2)
    panels = list(
        figure.subplots(1, len(runs), sharex=True, sharey=True, squeeze=False).flat
    )

    def draw(frame: int) -> None:
        for at, (axes, (name, lines)) in enumerate(
            zip(panels, runs.items(), strict=True)
        ):
            line = lines[min(frame, len(lines) - 1)]
            axes.clear()
            _bars(axes, line, at)
            axes.set_title(
                f"{shorten(name, 34)}\nstep {line['step']:,}", loc="left", fontsize=9
            )
        _finish(figure, panels[0], longest, highest)

    number = max(len(lines) for lines in runs.values())
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "margins.gif"
        writer = PillowWriter(fps=_FRAMES_PER_SECOND)
        with writer.saving(figure, path, dpi=100):
            # The last frame stands for a while before it begins again.
            for frame in [*range(number), *[number - 1] * 2 * _FRAMES_PER_SECOND]:
                draw(frame)
                writer.grab_frame()
        return path.read_bytes()


def _check(runs: Mapping[str, Validations]) -> None:
    for name, lines in runs.items():
        if not lines:
            raise UserError(
                f"Invalid `--run_dir`: expected a run with a validation on record. "
                f"Received: {name}"
            )


def _histogram(line: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Returns shares of the images, and the edges of the bins."""
    bins = line["val_margin_histogram"]
    counts = np.array(bins["counts"], float)
    edges = np.linspace(bins["lowest"], bins["highest"], len(counts) + 1)
    if len(counts) % _MERGED == 0:
        counts = counts.reshape(-1, _MERGED).sum(axis=1)
        edges = edges[::_MERGED]
    return counts / max(counts.sum(), 1.0), edges


def _limits(runs: Mapping[str, Validations]) -> tuple[float, float]:
    """Returns the longest margin of all, and the largest share of the later half."""
    longest = max(_histogram(line)[1][-1] for lines in runs.values() for line in lines)
    highest = max(
        float(np.max(_histogram(line)[0]))
        for lines in runs.values()
        for line in lines[len(lines) // 2 :]
    )
    return float(longest), highest


def _bars(axes: Axes, line: Mapping[str, Any], at: int) -> None:
    shares, edges = _histogram(line)
    axes.stairs(
        shares,
        edges,
        fill=True,
        facecolor=COLOURS[at % len(COLOURS)],
        edgecolor="black",
        linewidth=0.6,
        hatch="" if at == 0 else "////",
    )
    mean = line["val_average_margin"]
    axes.axvline(mean, color="black", linewidth=1.2, linestyle="--")


def _finish(figure: Figure, axes: Axes, longest: float, highest: float) -> None:
    axes.set_xlim(0, longest)
    axes.set_ylim(0, min(1.0, 1.1 * highest))
    axes.yaxis.set_major_formatter(PERCENT)
    figure.supxlabel(
        "margin found by AN-PGD (upper bound; the last bin holds the longer ones); "
        "dashed: average",
        fontsize=9,
    )
    figure.supylabel("validation images", fontsize=9)
