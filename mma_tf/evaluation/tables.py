"""Evaluations as plain text: what they found, and what speaks against trusting it."""

import math
from collections.abc import Iterable, Sequence

import numpy as np

from mma_tf.evaluation.results import Check, Evaluation
from mma_tf.evaluation.statistics import Interval

CAVEAT = (
    "Upper bounds of robustness: what these attacks found. Another attack may find "
    "more."
)
ABSENT = "-"
MARGIN_NAMES = {
    "decile_1": "10 % are at most",
    "quartile_1": "25 % are at most",
    "median": "median",
    "quartile_3": "75 % are at most",
    "decile_9": "90 % are at most",
    "mean_of_found": "mean of those found",
    "not_found": "no error found",
}
# Longer names of models would tear the columns apart: they get numbers.
_LONGEST_HEADING = 28
_LEVELS = 255


class PrintableEvaluation(Evaluation):
    """An evaluation that prints as a table."""

    def __str__(self) -> str:
        """Returns a table of what was found, and the sanity checks that were failed."""
        return text_table([self])


def eps_text(eps: float) -> str:
    """Returns a radius as a person would write it: 8/255, 0.1 or 0.0123456.

    Args:
        eps: In pixel units.
    """
    level = round(eps * _LEVELS)
    is_short = math.isclose(eps, round(eps, 3), rel_tol=1e-9)
    if not is_short and level > 0 and abs(eps * _LEVELS - level) < 1e-6:
        return f"{level}/{_LEVELS}"
    return f"{eps:.6g}"


def percent(share: float) -> str:
    """Returns a share in percent, with two digits."""
    return f"{100 * share:.2f} %"


def interval_text(interval: Interval) -> str:
    """Returns an interval of shares in percent, without the sign."""
    return f"{100 * interval.low:.1f} to {100 * interval.high:.1f}"


def margin_text(name: str, value: float) -> str:
    """Returns one of the statistics of margins.

    Args:
        name: A key of `Evaluation.margin_statistics`.
        value: Its value.
    """
    if name == "not_found":
        return percent(value)
    if math.isnan(value):
        return ABSENT
    return f"{value:.4g}" if math.isfinite(value) else "none found"


def check_comparable(evaluations: Sequence[Evaluation]) -> None:
    """Checks that evaluations may stand side by side in one table.

    Raises:
        ValueError: If there are none, or they differ in norm, suite, radii or examples.
    """
    if not evaluations:
        raise ValueError(
            "Invalid `evaluations`: expected at least one. Received: nothing"
        )
    first = evaluations[0]
    for other in evaluations[1:]:
        for name in ("norm", "suite", "eps"):
            if getattr(first, name) != getattr(other, name):
                raise ValueError(
                    f"Invalid `evaluations`: expected one {name} for all. Received: "
                    f"{getattr(first, name)} and {getattr(other, name)}"
                )
        if not np.array_equal(first.labels, other.labels):
            raise ValueError(
                "Invalid `evaluations`: expected the same examples for all. Received: "
                f"other labels for {other.model!r} than for {first.model!r}"
            )


def text_table(evaluations: Sequence[Evaluation]) -> str:
    """Returns what evaluations found, to be printed: a column for each model.

    Args:
        evaluations: Of the same norm, suite, radii and examples.

    Raises:
        ValueError: If they are not.
    """
    check_comparable(evaluations)
    headings, legend = _headings([evaluation.model for evaluation in evaluations])
    rows = [["", *headings], *_accuracies(evaluations)]
    if evaluations[0].eps:
        rows += _attacks(evaluations)
    else:
        rows += _margins(evaluations)
    return "\n".join(
        [
            _setting(evaluations),
            CAVEAT,
            *legend,
            "",
            *_aligned(rows),
            "",
            *_doubts(evaluations, headings),
        ]
    )


def _setting(evaluations: Sequence[Evaluation]) -> str:
    first = evaluations[0]
    seeds = sorted({evaluation.seed for evaluation in evaluations})
    word = "seed" if len(seeds) == 1 else "seeds"
    return (
        f"Suite {first.suite}, {first.norm}, {word} {', '.join(map(str, seeds))}, "
        f"{first.num_examples} examples; in brackets 95 % intervals (Wilson)."
    )


def _headings(names: Sequence[str]) -> tuple[list[str], list[str]]:
    if max(map(len, names)) <= _LONGEST_HEADING:
        return list(names), []
    if len(names) == 1:
        return ["model"], ["", f"model: {names[0]}"]
    numbers = [f"model {number}" for number in range(1, len(names) + 1)]
    pairs = zip(numbers, names, strict=True)
    return numbers, ["", *(f"{number}: {name}" for number, name in pairs)]


def _accuracies(evaluations: Sequence[Evaluation]) -> list[list[str]]:
    radii = evaluations[0].eps
    rows = [["clean accuracy", *(_share_and_interval(e, None) for e in evaluations)]]
    for eps in radii:
        cells = [_share_and_interval(e, eps) for e in evaluations]
        rows.append([f"robust accuracy, eps {eps_text(eps)}", *cells])
    if len(radii) > 1:
        rows += [
            ["AvgAcc", *(_optional(e.average_accuracy()) for e in evaluations)],
            [
                "AvgRobAcc",
                *(_optional(e.average_robust_accuracy()) for e in evaluations),
            ],
        ]
    return rows


def _share_and_interval(evaluation: Evaluation, eps: float | None) -> str:
    share = evaluation.accuracy if eps is None else evaluation.robust_accuracy[eps]
    return f"{_column(share)} [{interval_text(evaluation.interval(eps))}]"


def _optional(share: float | None) -> str:
    return ABSENT if share is None else _column(share)


def _column(share: float) -> str:
    return percent(share).rjust(len("100.00 %"))


def _attacks(evaluations: Sequence[Evaluation]) -> list[list[str]]:
    rows: list[list[str]] = []
    for eps in evaluations[0].eps:
        rows += [[], [f"right after each attack, eps {eps_text(eps)}"]]
        found = [
            {stage.name: stage.accuracy for stage in evaluation.stages_at(eps)}
            for evaluation in evaluations
        ]
        # A model without gradients meets other attacks than the rest.
        for name in _in_order(found):
            rows.append([f"  {name}", *(_optional(part.get(name)) for part in found)])
    return rows


def _in_order(groups: Iterable[Iterable[str]]) -> list[str]:
    return list(dict.fromkeys(name for group in groups for name in group))


def _margins(evaluations: Sequence[Evaluation]) -> list[list[str]]:
    found = [evaluation.margin_statistics() for evaluation in evaluations]
    norm = evaluations[0].norm
    rows: list[list[str]] = [[], [f"distance of the nearest error found, {norm}"]]
    for name, text in MARGIN_NAMES.items():
        rows.append([f"  {text}", *(margin_text(name, part[name]) for part in found)])
    stages = [{stage.name: stage for stage in e.stages} for e in evaluations]
    rows += [[], ["images for which an attack found an error nearer than known"]]
    for name in _in_order(stages):
        cells = [
            f"{part[name].num_fooled} of {part[name].num_attacked}"
            if name in part
            else ABSENT
            for part in stages
        ]
        rows.append([f"  {name}", *cells])
    return rows


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    # A row of one cell is a heading, which may reach over the columns.
    full = [row for row in rows if len(row) > 1]
    widths = [max(len(cell) for cell in column) for column in zip(*full, strict=True)]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])] if len(row) > 1 else list(row)
        for cell, width in zip(row[1:], widths[1:], strict=False):
            # Shares without an interval stand below those with one.
            cells.append(cell.ljust(width))
        lines.append("  ".join(cells).rstrip())
    return lines


def _doubts(evaluations: Sequence[Evaluation], headings: Sequence[str]) -> list[str]:
    lines = []
    for evaluation, heading in zip(evaluations, headings, strict=True):
        doubts, number = evaluation.warnings, len(evaluation.checks)
        if not doubts:
            lines.append(f"{heading}: all {number} sanity checks passed.")
            continue
        lines.append(f"{heading}: {len(doubts)} of {number} sanity checks FAILED:")
        lines += [f"  {line}" for doubt in doubts for line in _explained(doubt)]
    return lines


def _explained(doubt: Check) -> list[str]:
    return [
        f"! {doubt.name}: {doubt.found}",
        f"    what it means: {doubt.meaning}",
        f"    what to do: {doubt.advice}",
    ]
