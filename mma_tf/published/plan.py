"""What is shown of the records: `results/plan.json`, written by hand."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from mma_tf.errors import UserError, reason_of
from mma_tf.evaluation.suites import SUITES
from mma_tf.recipes.quantities import parse_number
from mma_tf.types import NormName

PLAN = "plan.json"
KINDS = ("robust_accuracy", "margins", "training_cost")
SHOWN = ("evaluations", "validations")


@dataclasses.dataclass(frozen=True)
class Published:
    """Figures that others have published.

    Attributes:
        label: Whose, of what.
        clean: Accuracy on clean images in [0, 1], None if it was not told.
        robust: Suite, radius and accuracy in [0, 1]. A suite of the name that `bin/
            evaluate` gives to the same attacks.
    """

    label: str
    clean: float | None
    robust: tuple[tuple[str, float, float], ...]


@dataclasses.dataclass(frozen=True)
class TablePlan:
    """A table of the README.

    Attributes:
        dataset: Of the records that are shown, by its name for `bin/evaluate`.
        norm: Of their attacks.
        mark: Where: between `<!-- results:{mark}:begin -->` and `...:end -->`.
        shows: One of `SHOWN`: the records of evaluations, or what the best step's
            validation found, which the cards tell, and the flags of the trainings.
        models: Names, in the order of the rows; those without a record, or card, are
            left out.
        published: Rows above them, for "evaluations".
    """

    dataset: str
    norm: str
    mark: str
    shows: str
    models: tuple[str, ...]
    published: tuple[Published, ...]


@dataclasses.dataclass(frozen=True)
class PicturePlan:
    """A picture beside the records.

    Attributes:
        dataset: Of the records that are shown, by its name for `bin/evaluate`.
        norm: Of their attacks.
        name: Of the file, without ending.
        kind: One of `KINDS`.
        title: Above it.
        models: Names, in order.
        suite: Whose records; "" for "training_cost".
        published: Points besides, for "robust_accuracy".
    """

    dataset: str
    norm: str
    name: str
    kind: str
    title: str
    models: tuple[str, ...]
    suite: str
    published: tuple[Published, ...]


@dataclasses.dataclass(frozen=True)
class Plan:
    """All tables and pictures."""

    tables: tuple[TablePlan, ...]
    pictures: tuple[PicturePlan, ...]


def covers(part: TablePlan | PicturePlan, card: Mapping[str, Any]) -> bool:
    """Returns whether a model was trained for the dataset and norm of a part.

    Args:
        part: Of a plan.
        card: Of the model; may be empty.
    """
    recipe = card.get("recipe") or {}
    return (recipe.get("dataset"), recipe.get("norm")) == (part.dataset, part.norm)


def read_plan(folder: pathlib.Path) -> Plan:
    """Returns the plan in a folder of records.

    Raises:
        UserError: If it is not there, or something is missing or unknown in it.
    """
    path = folder / PLAN
    try:
        contents = json.loads(path.read_text("utf-8"))
        published = {
            name: Published(
                label=part["label"],
                clean=None if part.get("clean") is None else _share(part["clean"]),
                robust=tuple(
                    # A radius may be written as 8/255.
                    (suite, parse_number(str(eps)), _share(accuracy))
                    for suite, eps, accuracy in part["robust"]
                ),
            )
            for name, part in contents["published"].items()
        }
        return Plan(
            tables=tuple(
                TablePlan(
                    dataset=part["dataset"],
                    norm=_known(part["norm"], "norm", get_args(NormName)),
                    mark=part["mark"],
                    shows=_known(part.get("shows", SHOWN[0]), "shows", SHOWN),
                    models=_names(part["models"]),
                    published=_named(published, part),
                )
                for part in contents["tables"]
            ),
            pictures=tuple(
                PicturePlan(
                    dataset=part["dataset"],
                    norm=_known(part["norm"], "norm", get_args(NormName)),
                    name=_file_name(part["name"]),
                    kind=_known(part["kind"], "kind", KINDS),
                    title=part["title"],
                    models=_names(part["models"]),
                    suite=_suite(part),
                    published=_named(published, part),
                )
                for part in contents["pictures"]
            ),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"Invalid plan: {path} cannot be used ({reason_of(error)}); "
            "mma_tf/published/plan.py tells what it holds."
        ) from error


def _known(value: str, name: str, known: Sequence[str]) -> str:
    if value not in known:
        raise ValueError(f"{name} {value!r} is none of {', '.join(known)}")
    return value


def _suite(part: Mapping[str, Any]) -> str:
    if part["kind"] == "training_cost":
        return ""
    return _known(part["suite"], "suite", SUITES)


def _names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ValueError(f"models {value!r} is no list of names")
    return tuple(value)


def _file_name(value: str) -> str:
    if pathlib.PurePath(value).name != value:
        raise ValueError(f"name {value!r} is no name of a file")
    return value


def _share(value: Any) -> float:
    share = float(value)
    if not 0 <= share <= 1:
        raise ValueError(f"accuracy {value!r} is not from 0 to 1")
    return share


def _named(
    published: dict[str, Published], part: dict[str, Any]
) -> tuple[Published, ...]:
    names: Sequence[str] = part.get("published", ())
    return tuple(published[name] for name in names)
