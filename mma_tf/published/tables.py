"""Records and cards as tables in Markdown."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from mma_tf.errors import UserError, reason_of
from mma_tf.evaluation.statistics import Interval, wilson_interval
from mma_tf.evaluation.tables import ABSENT, eps_text, interval_text
from mma_tf.published.plan import Published, TablePlan, covers
from mma_tf.published.records import Figure, Record
from mma_tf.report.markup import code, table

# What a column is of: suite ("" for clean images) and radius.
Column = tuple[str, float]
# Of a figure that a sanity check speaks against.
_MARK = "†"


def model_table(
    plan: TablePlan, records: Sequence[Record], cards: Mapping[str, Mapping[str, Any]]
) -> str:
    """Returns a table: a row for each model and number of images.

    Figures that a sanity check speaks against have a mark, and a note below the table.

    Args:
        plan: Which models, and what was published besides.
        records: Of any models; those of one model are of the same weights.
        cards: Of the models, by name; where there is none, cost is left out.

    Raises:
        UserError: If two of the records are of as many, but other images.
    """
    records = [record for record in records if shows(plan, record)]
    _check_examples(records)
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
        "examples, whole training",
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
    notes = dict.fromkeys(
        f"{_MARK} `{model}`, {figure.suite}: {doubt}"
        for (model, _), figures_of in rows.items()
        for figure in figures_of.values()
        for doubt in figure.doubts
    )
    return "\n\n".join([table([header, *lines]), *notes])


def shows(plan: TablePlan, record: Record) -> bool:
    """Returns whether a table of evaluations has a place for a record.

    Searches of margins, which have no radius, have none: there are pictures of them.
    """
    return (
        plan.shows == "evaluations"
        and record.is_of(plan.dataset, plan.norm)
        and record.model in plan.models
        and bool(record.contents["eps"])
    )


def _check_examples(records: Sequence[Record]) -> None:
    """Raises UserError where figures of other images would be held side by side."""
    known: dict[int, Record] = {}
    for record in records:
        first = known.setdefault(record.num_examples, record)
        if record.examples != first.examples:
            raise UserError(
                f"Invalid record: {record.name} is of other images than {first.name}, "
                "beside which its figures would stand; evaluate on the same images."
            )


def validation_table(plan: TablePlan, cards: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns a table of what validation found at each model's best step.

    It tells what a flag of training is worth without touching a test image. Below the
    table stand the attack and the flags that all models share.

    Args:
        plan: Which models.
        cards: Of the models, by name.

    Raises:
        UserError: If a card does not tell what validation found at the best step.
    """
    commands = {
        model: shlex.split(cards[model]["command"])
        for model in plan.models
        if covers(plan, cards.get(model, {}))
    }
    first = next(iter(commands.values()), [])
    shared = [flag for flag in first if all(flag in c for c in commands.values())]
    lines: list[list[str]] = []
    attacks: dict[str, None] = {}
    for model, command in commands.items():
        flags = shlex.join(flag for flag in command if flag not in shared)
        try:
            cells, attack = _validation(cards[model])
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"Invalid card: that of {model} lacks what its validation found "
                f"({reason_of(error)}); publish it again."
            ) from error
        attacks[attack] = None
        lines.append([f"`{model}`", f"`{code(flags)}`" if flags else ABSENT, *cells])
    notes = [f"{attack}." for attack in attacks]
    if lines:
        notes.append(
            "Average margin: found by a line search from that radius on, margins "
            "beyond `--max_eps_factor` times `--dmax` counting as that; an upper bound."
        )
        notes.append(f"The flags are those besides `{code(shlex.join(shared))}`.")
    header = [
        "model",
        "flags",
        "clean",
        "robust",
        "average margin",
        "best step",
        "core hours",
    ]
    return "\n\n".join([table([header, *lines]), *notes])


def _validation(card: Mapping[str, Any]) -> tuple[list[str], str]:
    """Returns a card's cells of a table of validations, and the attack."""
    best, number = card["training"]["best_step"], card["recipe"]["validation_size"]
    (found,) = (line for line in card["validations"] if line["step"] == best)
    cells = [
        _share(found["val_accuracy"], number),
        _share(found["val_robust_accuracy"], number),
        f"{found['val_average_margin']:.4f}",
        f"{best:,} of {card['training']['steps']:,}",
        *_cost(card)[1:],
    ]
    return cells, f"{number:,} validation images, {card['validation_attack']}"


def _share(accuracy: float, number: int) -> str:
    return _percent(accuracy, wilson_interval(round(accuracy * number), number))


def _row(figures: Sequence[Figure]) -> dict[Column, Figure]:
    """Returns the figure of each column: all are upper bounds, so the lowest counts."""
    row: dict[Column, Figure] = {}
    for figure in sorted(figures, key=lambda figure: figure.accuracy):
        row.setdefault((figure.suite, figure.eps), figure)
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
    mark = f" {_MARK}" if figure.doubts else ""
    return f"{_percent(figure.accuracy, figure.interval)}{mark}"


def _percent(accuracy: float, interval: Interval) -> str:
    return f"{100 * accuracy:.2f} ({interval_text(interval)})"


def _cost(card: Mapping[str, Any] | None) -> list[str]:
    if card is None:
        return [ABSENT, ABSENT]
    training = card["training"]
    examples, hours = training.get("examples"), training.get("cpu_hours")
    return [
        ABSENT if examples is None else f"{examples:,}",
        ABSENT if hours is None else f"{hours:.2g}",
    ]
