"""Records as a table in Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

from mma_tf.errors import UserError
from mma_tf.evaluation.tables import ABSENT, eps_text
from mma_tf.published.plan import Published, TablePlan
from mma_tf.published.records import Figure, Record
from mma_tf.report.markup import table

# What a column is of: suite ("" for clean images) and radius.
Column = tuple[str, float]


def model_table(
    plan: TablePlan, records: Sequence[Record], cards: Mapping[str, Mapping[str, Any]]
) -> str:
    """Returns a table: a row for each model and number of images.

    Args:
        plan: Which models, and what was published besides.
        records: Of any models.
        cards: Of the models, by name; where there is none, cost is left out.

    Raises:
        UserError: If two records tell different figures of the same thing.
    """
    records = [record for record in records if record.is_of(plan.dataset, plan.norm)]
    rows: dict[tuple[str, int], dict[Column, Figure]] = {}
    for model in plan.models:
        figures = [f for r in records if r.model == model for f in r.figures()]
        for number in sorted({f.num_examples for f in figures}, reverse=True):
            rows[model, number] = _row([f for f in figures if f.num_examples == number])
    told = [{(s, e) for s, e, _ in p.robust} for p in plan.published]
    columns = sorted(
        {("", 0.0), *(column for row in [*rows.values(), *told] for column in row)},
        key=lambda column: (column[1], column[0] != "paper", column[0]),
    )
    header = [
        "model",
        "images",
        *(_heading(column) for column in columns),
        "examples trained on",
        "core hours",
    ]
    lines = [_published_row(published, columns) for published in plan.published]
    for (model, number), figures_of in rows.items():
        lines.append(
            [
                f"`{model}`",
                f"{number:,}",
                *(_cell(figures_of.get(column)) for column in columns),
                *_cost(cards.get(model)),
            ]
        )
    return table([header, *lines])


def _row(figures: Sequence[Figure]) -> dict[Column, Figure]:
    row: dict[Column, Figure] = {}
    for figure in figures:
        known = row.setdefault((figure.suite, figure.eps), figure)
        if known.accuracy != figure.accuracy:
            raise UserError(
                f"Invalid records: {known.record} and {figure.record} tell different "
                f"accuracies at eps {figure.eps_text}; remove one of them."
            )
    return row


def _heading(column: Column) -> str:
    suite, eps = column
    return f"ε {eps_text(eps)}, {suite}" if suite else "clean"


def _published_row(published: Published, columns: Sequence[Column]) -> list[str]:
    told = {(suite, eps): accuracy for suite, eps, accuracy in published.robust}
    if published.clean is not None:
        told["", 0.0] = published.clean
    cells = [f"{100 * told[c]:.2f}" if c in told else ABSENT for c in columns]
    return [published.label, ABSENT, *cells, ABSENT, ABSENT]


def _cell(figure: Figure | None) -> str:
    if figure is None:
        return ABSENT
    low, high = figure.interval
    return f"{100 * figure.accuracy:.2f} ({100 * low:.1f} to {100 * high:.1f})"


def _cost(card: Mapping[str, Any] | None) -> list[str]:
    if card is None:
        return [ABSENT, ABSENT]
    training = card["training"]
    hours = training["cpu_hours"]
    return [
        f"{training['examples']:,}",
        ABSENT if hours is None else f"{hours:.2g}",
    ]
