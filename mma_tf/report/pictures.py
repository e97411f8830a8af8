"""The plots of a report: robust accuracy against the radius, and margins."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from mma_tf.evaluation.results import Evaluation
from mma_tf.evaluation.statistics import wilson_interval
from mma_tf.evaluation.tables import eps_text
from mma_tf.report.drawing import (
    COLOURS,
    LINES,
    MARKERS,
    PERCENT,
    WIDTH,
    new_figure,
    shorten,
    styled,
)

_WRONG_COLOUR = "#D55E00"
# A name of so many letters takes half of the width at most.
_HALF_WIDTH = 36
_NUM_BINS = 30
# Radii that are nearer, in units of the axis, would have texts on top of each other.
_LEAST_GAP = 0.07
# Sideways, in units of the axis, so that error bars do not hide each other.
_DODGE = 0.008
_BAND_POINTS = 200


@styled
def robust_accuracy_figure(
    evaluations: Sequence[Evaluation], eps_names: Mapping[float, str] | None = None
) -> Figure:
    """Returns robust accuracy against the radius, every model in one plot.

    Suite "margins" gives the share of images without an error found up to each length.

    Args:
        evaluations: Of the same norm, suite, radii and examples.
        eps_names: Texts of the radii; by default those of `eps_text`.
    """
    first = evaluations[0]
    figure = new_figure(WIDTH, 4.0 + 0.24 * len(evaluations))
    axes = figure.add_subplot()
    if first.eps:
        _points(axes, evaluations)
        _mark_radii(axes, {0.0: "0"} | (dict(eps_names or {}) or _texts(first.eps)))
    else:
        _curves(axes, evaluations)
    axes.set_ylim(-0.02, 1.02)
    axes.yaxis.set_major_formatter(PERCENT)
    axes.set_xlabel(f"eps: {first.norm} distance, in pixel units (pixels from 0 to 1)")
    axes.set_ylabel(
        "robust accuracy (upper bound)" if first.eps else "no error found up to eps"
    )
    axes.set_title(
        f"Suite {first.suite}, {first.num_examples} images, 95 % Wilson intervals",
        loc="left",
        fontsize=10,
    )
    # Apart from the plot: nothing is hidden, and long names have room.
    is_short = max(len(evaluation.model) for evaluation in evaluations) <= _HALF_WIDTH
    figure.legend(
        loc="outside lower left", ncols=2 if is_short and len(evaluations) > 3 else 1
    )
    return figure


@styled
def margins_figure(evaluations: Sequence[Evaluation]) -> Figure:
    """Returns histograms of the distances of the nearest errors, a panel a model.

    Args:
        evaluations: Of the same norm, suite, radii and examples.
    """
    longest = _longest(evaluations)
    edges = np.linspace(0, longest, _NUM_BINS + 1)
    figure = new_figure(WIDTH, 1.0 + 2.0 * len(evaluations))
    panels = figure.subplots(
        len(evaluations), sharex=True, sharey=True, squeeze=False
    ).flat
    for at, (axes, evaluation) in enumerate(zip(panels, evaluations, strict=True)):
        sizes, number = evaluation.sizes, evaluation.num_examples
        found = sizes[np.isfinite(sizes) & (sizes > 0)]
        wrong, unknown = int(np.sum(sizes == 0)), int(np.sum(~np.isfinite(sizes)))
        counts, _ = np.histogram(found, edges)
        bins = axes.stairs(
            counts / number, edges, fill=True, color=COLOURS[0], alpha=0.85
        )
        # Left of 0, in place of among the short margins.
        width = edges[1]
        aside = -2 * width
        bar = axes.bar(aside, wrong / number, width, color=_WRONG_COLOUR)
        shares = (wrong / number, len(found) / number, unknown / number)
        texts = ("wrong as it is", "error found", "none found, not drawn")
        axes.legend(
            [bar, bins, Patch(facecolor="white", edgecolor="#999999")],
            [f"{t}: {100 * s:.1f} %" for t, s in zip(texts, shares, strict=True)],
            loc="lower left",
            bbox_to_anchor=(-0.01, 0.97),
            ncols=3,
            borderpad=0,
            columnspacing=1.2,
            handlelength=1.2,
        )
        axes.set_title(shorten(evaluation.model), loc="left", fontsize=10, pad=18)
        axes.yaxis.set_major_formatter(PERCENT)
        axes.grid(False, axis="x")
        if at == len(evaluations) - 1:
            axes.set_xlabel(
                f"{evaluation.norm} distance of the nearest error found, in pixel units"
                " (upper bound of the margin)"
            )
            ticks = [tick for tick in axes.get_xticks() if 0 <= tick <= longest]
            axes.set_xticks([aside, *ticks], ["wrong", *(f"{t:.4g}" for t in ticks)])
        axes.set_xlim(2 * aside, longest * 1.02)
    figure.supylabel("share of images", fontsize=10)
    return figure


def _texts(radii: Sequence[float]) -> dict[float, str]:
    return {eps: eps_text(eps) for eps in radii}


def _points(axes: Axes, evaluations: Sequence[Evaluation]) -> None:
    longest = max(evaluations[0].eps)
    for at, evaluation in enumerate(evaluations):
        radii = np.array([0.0, *evaluation.eps])
        shares = np.array([evaluation.accuracy, *evaluation.robust_accuracy.values()])
        intervals = np.array([evaluation.interval(e) for e in (None, *evaluation.eps)])
        aside = (at - (len(evaluations) - 1) / 2) * _DODGE * longest
        axes.errorbar(
            radii + aside,
            shares,
            yerr=np.abs(intervals.T - shares),
            color=COLOURS[at % len(COLOURS)],
            marker=MARKERS[at % len(MARKERS)],
            linestyle=LINES[at % len(LINES)],
            markersize=5,
            linewidth=1.3,
            elinewidth=1,
            capsize=2.5,
            label=shorten(evaluation.model),
        )
    axes.set_xlim(-0.05 * longest, 1.05 * longest)


def _mark_radii(axes: Axes, texts: Mapping[float, str]) -> None:
    radii = sorted(texts)
    if min(np.diff(radii)) >= _LEAST_GAP * radii[-1]:
        axes.set_xticks(radii, [texts[eps] for eps in radii])


def _curves(axes: Axes, evaluations: Sequence[Evaluation]) -> None:
    longest = _longest(evaluations)
    for at, evaluation in enumerate(evaluations):
        ordered = np.sort(evaluation.sizes)
        number = len(ordered)
        ends = np.unique(ordered[np.isfinite(ordered)])
        steps = np.unique([0.0, *ends, longest])
        # Larger than the radius: an error at a distance of eps is in the closed ball.
        left = number - np.searchsorted(ordered, steps, side="right")
        colour = COLOURS[at % len(COLOURS)]
        axes.step(
            steps,
            left / number,
            where="post",
            color=colour,
            linestyle=LINES[at % len(LINES)],
            linewidth=1.5,
            label=shorten(evaluation.model),
        )
        grid = np.linspace(0, longest, _BAND_POINTS)
        counts = number - np.searchsorted(ordered, grid, side="right")
        low, high = np.transpose([wilson_interval(int(c), number) for c in counts])
        axes.fill_between(grid, low, high, color=colour, alpha=0.12, linewidth=0)
    axes.set_xlim(0, longest)


def _longest(evaluations: Sequence[Evaluation]) -> float:
    finite = [e.sizes[np.isfinite(e.sizes)] for e in evaluations]
    longest = max((float(np.max(part)) for part in finite if len(part)), default=0.0)
    # Where nothing was found there is no scale; any will do.
    return 1.02 * longest or max(evaluations[0].eps, default=1.0)
