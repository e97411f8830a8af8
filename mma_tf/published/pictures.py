"""Pictures of records and cards: robustness, margins, and what training cost."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mma_tf.published.plan import PicturePlan, covers
from mma_tf.published.records import Record
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


@styled
def draw(
    plan: PicturePlan,
    records: Sequence[Record],
    cards: Mapping[str, Mapping[str, Any]],
) -> Figure | None:
    """Returns a picture, or None if there is nothing to draw yet.

    Args:
        plan: What to draw.
        records: Of any models; of one model those on most images are drawn.
        cards: Of the models, by name.
    """
    figure = new_figure(WIDTH, 4.2 + 0.2 * len(plan.models))
    axes = figure.add_subplot()
    records = [record for record in records if draws(plan, record)]
    kinds = {
        "robust_accuracy": lambda: _robust_accuracy(axes, plan, records),
        "margins": lambda: _margins(axes, plan, records),
        "training_cost": lambda: _training_cost(axes, plan, cards),
    }
    if not kinds[plan.kind]():
        return None
    axes.set_title(plan.title, loc="left", fontsize=10)
    figure.legend(loc="outside lower left", ncols=2)
    return figure


def _look(at: int) -> dict[str, Any]:
    return {
        "color": COLOURS[at % len(COLOURS)],
        "marker": MARKERS[at % len(MARKERS)],
        "linestyle": LINES[at % len(LINES)],
        "markersize": 5,
        "linewidth": 1.3,
    }


def draws(plan: PicturePlan, record: Record) -> bool:
    """Returns whether a picture is of a record."""
    return (
        record.model in plan.models
        and record.suite == plan.suite
        and record.is_of(plan.dataset, plan.norm)
    )


def _of(model: str, records: Sequence[Record]) -> list[Record]:
    found = [record for record in records if record.model == model]
    most = max((record.num_examples for record in found), default=0)
    return [record for record in found if record.num_examples == most]


def _robust_accuracy(axes: Axes, plan: PicturePlan, records: Sequence[Record]) -> bool:
    drawn = False
    for at, model in enumerate(plan.models):
        # All are upper bounds: of two at one radius the lower one counts.
        figures = {
            figure.eps: figure
            for figure in sorted(
                (f for record in _of(model, records) for f in record.figures()),
                key=lambda figure: -figure.accuracy,
            )
        }
        if not figures:
            continue
        drawn = True
        number = next(iter(figures.values())).num_examples
        radii = sorted(figures)
        shares = np.array([figures[eps].accuracy for eps in radii])
        intervals = np.array([figures[eps].interval for eps in radii])
        axes.errorbar(
            radii,
            shares,
            yerr=np.abs(intervals.T - shares),
            elinewidth=1,
            capsize=2.5,
            label=f"{shorten(model)}, {number:,} images",
            **_look(at),
        )
    for at, published in enumerate(plan.published):
        told = [(e, a) for suite, e, a in published.robust if suite == plan.suite]
        if told:
            axes.plot(
                *zip(*told, strict=True),
                linestyle="none",
                marker="*+x"[at % 3],
                markersize=10,
                color="black",
                label=published.label,
            )
    axes.set_ylim(-0.02, 1.02)
    axes.yaxis.set_major_formatter(PERCENT)
    axes.set_xlabel("eps, in pixel units (pixels from 0 to 1)")
    axes.set_ylabel(f"robust accuracy, suite {plan.suite} (upper bound)")
    return drawn


def _margins(axes: Axes, plan: PicturePlan, records: Sequence[Record]) -> bool:
    drawn = False
    for at, model in enumerate(plan.models):
        for record in _of(model, records)[-1:]:
            bins = record.about["margin_histogram"]
            if not bins["highest"]:
                continue
            edges = np.linspace(0, bins["highest"], len(bins["counts"]) + 1)
            width = edges[1] - edges[0]
            drawn = True
            look = _look(at)
            axes.stairs(
                np.array(bins["counts"]) / record.num_examples / width,
                edges,
                color=look["color"],
                linestyle=look["linestyle"],
                linewidth=1.6,
                fill=False,
                label=f"{shorten(model)}, {record.num_examples:,} images",
            )
    axes.set_xlabel("distance of the nearest error found (upper bound of the margin)")
    axes.set_ylabel("share of images per unit of distance")
    return drawn


def _training_cost(
    axes: Axes, plan: PicturePlan, cards: Mapping[str, Mapping[str, Any]]
) -> bool:
    drawn = False
    for at, model in enumerate(plan.models):
        lines = validations(plan, cards.get(model) or {})
        if not lines:
            continue
        drawn = True
        axes.plot(
            [line["train_cpu_hours"] for line in lines],
            [line["val_average_margin"] for line in lines],
            label=shorten(model),
            **_look(at),
        )
    axes.set_xlabel("processor hours of training (all cores together)")
    axes.set_ylabel(
        "average margin on validation images\n(upper bound, cut off where search ends)"
    )
    return drawn


def validations(plan: PicturePlan, card: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Returns a card's validations with their cost, if it fits the picture.

    Args:
        plan: Tells dataset and norm.
        card: Of a model; may be empty.
    """
    if not covers(plan, card):
        return []
    return [v for v in card.get("validations", ()) if "train_cpu_hours" in v]
