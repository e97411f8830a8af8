"""The closing evaluations of one or two runs, side by side."""

from collections.abc import Mapping
from typing import Any


def results_table(summaries: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns a table to be printed.

    Args:
        summaries: `summary.json` of each run, by the name of its column.
    """
    first = next(iter(summaries.values()))
    judgement = first["judgement"]
    norm, eps, limit = (judgement[key] for key in ("norm", "eps", "max_eps"))
    number = first["test_examples"]
    rows = [
        ["", *summaries],
        [
            f"clean accuracy, all {first['all_test_examples']} test images",
            *(f"{100 * s['test_accuracy']:.2f} %" for s in summaries.values()),
        ],
        [
            f"robust accuracy, {norm}, eps {eps:.4g}, {number} test images",
            *(
                f"{100 * s['test']['robust_accuracy']:.2f} %"
                for s in summaries.values()
            ),
        ],
        [
            f"average margin, {norm}, at most {limit:.4g} counted",
            *(f"{s['test']['average_margin']:.4f}" for s in summaries.values()),
        ],
        [
            f"margin more than {limit:.4g}",
            *(f"{100 * s['test']['above_max_eps']:.2f} %" for s in summaries.values()),
        ],
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0])]
            + [
                cell.rjust(width)
                for cell, width in zip(row[1:], widths[1:], strict=True)
            ]
        )
        for row in rows
    ]
    return "\n".join(
        [
            "",
            *lines,
            f"Attack: {first['attack']}. Margins are upper bounds: what this attack "
            "found.",
        ]
    )
