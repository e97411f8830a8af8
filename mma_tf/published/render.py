"""Brings README, pictures and cards up to date with the records."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from mma_tf.errors import UserError
from mma_tf.files import write_bytes_atomically, write_text_atomically
from mma_tf.published.plan import Plan, read_plan
from mma_tf.published.records import Record, read_records
from mma_tf.published.tables import model_table
from mma_tf.zoo import CARD, card_names, read_card, write_card


def render(
    *,
    results: pathlib.Path,
    models: pathlib.Path,
    readme: pathlib.Path,
    is_check: bool = False,
) -> list[pathlib.Path]:
    """Writes what the records say into tables, pictures and cards.

    Args:
        results: Folder of the records and of plan.json; pictures are put there.
        models: Folder of the models.
        readme: Markdown file with a pair of marks for each table.
        is_check: Whether nothing is written, and pictures are not looked at: another
            version of matplotlib draws other bytes.

    Returns:
        The files that changed, or would change.

    Raises:
        UserError: If a record, card, plan or mark is missing or damaged, or a record
            was made of other weights than the model of its name has.
        OSError: If a file cannot be written; the old one is then as it was.
    """
    plan = read_plan(results)
    records = read_records(results)
    cards = {name: read_card(name, models) for name in card_names(models)}
    for record in records:
        card = cards.get(record.model)
        if card is not None and record.about["sha256"] != card["sha256"]:
            raise UserError(
                f"Invalid record: {record.name} is of another model than that of "
                f"{models / record.model}; remove it, or evaluate again."
            )
    changed = []
    for name, card in cards.items():
        fresh = {**card, "figures": _figures(name, records)}
        if fresh != card:
            changed.append(models / name / CARD)
            if not is_check:
                write_card(name, fresh, models)
    text = readme.read_text("utf-8")
    fresh_text = _with_tables(text, readme, plan, records, cards)
    if fresh_text != text:
        changed.append(readme)
        if not is_check:
            write_text_atomically(readme, fresh_text)
    if not is_check:
        changed += _draw(results, plan, records, cards)
    return changed


def _figures(name: str, records: Sequence[Record]) -> list[dict[str, Any]]:
    found = []
    for record in records:
        if record.model != name:
            continue
        about = record.about
        attacks = [
            {
                key: attack[key]
                for key in ("name", "eps", "num_passes", "parameters", "accuracy")
            }
            for attack in about["attacks"]
        ]
        for figure in record.figures():
            found.append(
                {
                    "suite": figure.suite or "clean",
                    "norm": figure.norm,
                    "eps": figure.eps,
                    "num_examples": figure.num_examples,
                    "accuracy": figure.accuracy,
                    "interval_95": list(figure.interval),
                    "seed": about["seed"],
                    "attacks": [a for a in attacks if a["eps"] == figure.eps],
                    "record": f"{figure.record}.json",
                }
            )
    return found


def _with_tables(
    text: str,
    readme: pathlib.Path,
    plan: Plan,
    records: Sequence[Record],
    cards: Mapping[str, Mapping[str, Any]],
) -> str:
    for table in plan.tables:
        begin = f"<!-- results:{table.mark}:begin -->\n"
        end = f"<!-- results:{table.mark}:end -->"
        before, found, rest = text.partition(begin)
        _, found_end, after = rest.partition(end)
        if not (found and found_end):
            raise UserError(
                f"Invalid `--readme`: expected lines {begin.strip()} and {end}, for "
                f"the table between them. Received: {readme} without them"
            )
        text = f"{before}{begin}{model_table(table, records, cards)}\n{end}{after}"
    return text


def _draw(
    results: pathlib.Path,
    plan: Plan,
    records: Sequence[Record],
    cards: Mapping[str, Mapping[str, Any]],
) -> list[pathlib.Path]:
    # matplotlib takes a second to import, and a check does not need it.
    from mma_tf.published.pictures import draw
    from mma_tf.report.drawing import png_bytes

    changed = []
    for picture in plan.pictures:
        figure = draw(picture, records, cards)
        path = results / f"{picture.name}.png"
        if figure is None:
            continue
        content = png_bytes(figure)
        if not path.exists() or path.read_bytes() != content:
            write_bytes_atomically(path, content)
            changed.append(path)
    return changed
