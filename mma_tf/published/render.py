"""Brings README, pictures and cards up to date with the records."""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image

from mma_tf.errors import UserError, reason_of
from mma_tf.files import write_bytes_atomically, write_text_atomically
from mma_tf.published.pictures import draw, draws, validations
from mma_tf.published.plan import PicturePlan, Plan, TablePlan, read_plan
from mma_tf.published.records import Record, read_records
from mma_tf.published.tables import model_table, shows, validation_table
from mma_tf.report.drawing import NOTE, png_bytes
from mma_tf.zoo import CARD, card_names, check_weights, read_card, write_card


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
        is_check: Whether nothing is written.

    Returns:
        The files that changed, or would change.

    Raises:
        UserError: If a record, card, plan or mark is missing or damaged, or a record
            was made of other weights than the model of its name has, or of other
            images than its neighbours in a table; then nothing has been written.
        OSError: If a file cannot be written; the old one is then as it was.
    """
    plan = read_plan(results)
    records = read_records(results)
    cards = {name: read_card(name, models) for name in card_names(models)}
    _check_weights(records, cards, models)
    try:
        text = readme.read_text("utf-8")
    except ValueError as error:
        raise UserError(
            f"Invalid `--readme`: {readme} is not UTF-8 ({reason_of(error)})."
        ) from error
    # All is made before anything is written: a mistake leaves the old files whole.
    fresh_text = _with_tables(text, readme, plan, records, cards)
    fresh_cards = {
        name: {**card, "figures": _figures(name, records)}
        for name, card in cards.items()
    }
    drawn = _drawn_anew(results, plan, records, cards)
    changed = list(drawn)
    for path, content in () if is_check else drawn.items():
        if content is None:
            path.unlink()
        else:
            write_bytes_atomically(path, content)
    for name, fresh in fresh_cards.items():
        if fresh != cards[name]:
            changed.append(models / name / CARD)
            if not is_check:
                write_card(name, fresh, models)
    if fresh_text != text:
        changed.append(readme)
        if not is_check:
            write_text_atomically(readme, fresh_text)
    return changed


def left_out(
    results: pathlib.Path, models: pathlib.Path
) -> tuple[list[str], list[str]]:
    """Returns what tables and pictures do not show, though one might think so.

    Args:
        results: Folder of the records and of plan.json.
        models: Folder of the models.

    Returns:
        The names in the plan that have neither card nor record, and those of the
        records that no table and no picture shows.

    Raises:
        UserError: If a record or the plan is missing or damaged.
    """
    plan, records = read_plan(results), read_records(results)
    parts: list[TablePlan | PicturePlan] = [*plan.tables, *plan.pictures]
    named = dict.fromkeys(name for part in parts for name in part.models)
    known = {*card_names(models), *(record.model for record in records)}
    nowhere = [
        record.name
        for record in records
        if not any(shows(table, record) for table in plan.tables)
        and not any(draws(picture, record) for picture in plan.pictures)
    ]
    return [name for name in named if name not in known], nowhere


def _check_weights(
    records: Sequence[Record],
    cards: Mapping[str, Mapping[str, Any]],
    models: pathlib.Path,
) -> None:
    """Raises UserError where one name stands for several models."""
    for name, card in cards.items():
        check_weights(name, card, models)
    known = {n: (card["sha256"], str(models / n)) for n, card in cards.items()}
    readings: dict[str, Record] = {}
    for record in records:
        other = readings.setdefault(record.model, record)
        if record.reading != other.reading:
            raise UserError(
                f"Invalid record: {record.name} is of {record.model} with another "
                f"--signature or --input_range than {other.name}; remove the wrong one."
            )
        sha256 = record.about["sha256"]
        expected, where = known.setdefault(record.model, (sha256, record.name))
        if sha256 != expected:
            raise UserError(
                f"Invalid record: {record.name} is of another model than that of "
                f"{where}; remove it, or evaluate again."
            )


def _figures(name: str, records: Sequence[Record]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for record in records:
        if record.model != name:
            continue
        about, data = record.about, record.contents["data"]
        attacks = record.attacks
        origin = {
            "dataset": data.get("dataset"),
            "split": data.get("split"),
            "num_examples": record.num_examples,
            "seed": about["seed"],
            "record": f"{record.name}.json",
        }
        for figure in record.figures():
            found.append(
                {
                    "suite": figure.suite or "clean",
                    "norm": figure.norm,
                    "eps": figure.eps,
                    "accuracy": figure.accuracy,
                    "interval_95": list(figure.interval),
                    "doubts": list(figure.doubts),
                    "attacks": [a for a in attacks if a["eps"] == figure.eps],
                    **origin,
                }
            )
        if record.contents["suite"] == "margins":
            found.append(
                {
                    "suite": record.suite,
                    "norm": record.contents["norm"],
                    "margins": about["margins"],
                    "doubts": list(record.doubts()),
                    "attacks": attacks,
                    **origin,
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
        shown = (
            model_table(table, records, cards)
            if table.shows == "evaluations"
            else validation_table(table, cards)
        )
        text = f"{before}{begin}{shown}\n{end}{after}"
    return text


def _digest(
    picture: PicturePlan,
    records: Sequence[Record],
    cards: Mapping[str, Mapping[str, Any]],
) -> str:
    """Returns what tells pictures of other plans, records or cards apart."""
    if picture.kind == "training_cost":
        shown: list[Any] = [
            validations(picture, cards.get(name) or {}) for name in picture.models
        ]
    else:
        shown = [record.contents for record in records if draws(picture, record)]
    text = json.dumps([dataclasses.asdict(picture), shown], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _note_of(path: pathlib.Path) -> str | None:
    """Returns the note that a picture keeps, None if there is no such file."""
    try:
        with Image.open(path) as image:
            return image.info.get(NOTE)
    except OSError:
        return None


def _drawn_anew(
    results: pathlib.Path,
    plan: Plan,
    records: Sequence[Record],
    cards: Mapping[str, Mapping[str, Any]],
) -> dict[pathlib.Path, bytes | None]:
    """Returns pictures that are out of date; None for one with nothing to show."""
    drawn: dict[pathlib.Path, bytes | None] = {}
    for picture in plan.pictures:
        path = results / f"{picture.name}.png"
        # Not by its bytes: another version of matplotlib draws others.
        note = _digest(picture, records, cards)
        if _note_of(path) == note:
            continue
        figure = draw(picture, records, cards)
        if figure is not None:
            drawn[path] = png_bytes(figure, note=note)
        elif path.exists():
            drawn[path] = None
    return drawn
