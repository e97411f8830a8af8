"""The trained models that come with the checkout, by their names.

Each is a folder `models/<name>` with a card.json: where the model comes from, what its
training cost, and what was measured. Most have a saved_model/ beside it; of the others
the card tells the command that makes it.
"""

import difflib
import json
import pathlib
import shlex
from collections.abc import Mapping
from typing import Any

from mma_tf.errors import UserError
from mma_tf.files import sha256_of, write_text_atomically

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "models"
CARD = "card.json"
SAVED_MODEL = "saved_model"


def card_names(folder: pathlib.Path | None = None) -> list[str]:
    """Returns the names of all models that have a card, sorted.

    Args:
        folder: Of the models; by default that of the checkout.
    """
    folder = FOLDER if folder is None else folder
    # One with a dot in front is being made, or was when its maker was killed.
    names = (path.parent.name for path in folder.glob(f"*/{CARD}"))
    return sorted(name for name in names if not name.startswith("."))


def model_names(folder: pathlib.Path | None = None) -> list[str]:
    """Returns the names of the models that can be loaded, sorted.

    Args:
        folder: Of the models; by default that of the checkout.
    """
    folder = FOLDER if folder is None else folder
    return [n for n in card_names(folder) if (folder / n / SAVED_MODEL).is_dir()]


def find_in_zoo(name: str, folder: pathlib.Path | None = None) -> pathlib.Path | None:
    """Returns the folder of a model that comes along, or None if there is none.

    Args:
        name: Such as "mnist-linf-mma-0.45".
        folder: Of the models; by default that of the checkout.

    Raises:
        UserError: If there is its card, but not the model itself, or another model.
    """
    folder = FOLDER if folder is None else folder
    if name not in card_names(folder):
        return None
    card = read_card(name, folder)
    if not (folder / name / SAVED_MODEL).is_dir():
        raise UserError(
            f"Invalid `--model`: {name} is not kept with the checkout; train it by "
            f"{card['command']} and give the run directory."
        )
    check_weights(name, card, folder)
    return folder / name


def check_weights(
    name: str, card: Mapping[str, Any], folder: pathlib.Path | None = None
) -> None:
    """Checks that a model is the one that its card is about, if it is kept at all.

    Args:
        name: Of the model.
        card: Of the model.
        folder: Of the models; by default that of the checkout.

    Raises:
        UserError: If it is another one.
    """
    path = (FOLDER if folder is None else folder) / name / SAVED_MODEL
    if path.is_dir() and sha256_of(path) != card["sha256"]:
        raise UserError(
            f"Invalid model: {path} is not the one that {CARD} beside it is about; "
            "restore both with git, or publish the model again."
        )


def short_path(path: pathlib.Path) -> str:
    """Returns a path; that of a model that comes along from the checkout on."""
    is_ours = path.resolve().is_relative_to(FOLDER)
    return str(path.resolve().relative_to(FOLDER.parent) if is_ours else path)


def read_card(name: str, folder: pathlib.Path | None = None) -> dict[str, Any]:
    """Returns the card of a model.

    Args:
        name: One of `card_names`.
        folder: Of the models; by default that of the checkout.

    Raises:
        UserError: If it is not there, or damaged.
    """
    path = (FOLDER if folder is None else folder) / name / CARD
    try:
        card = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"Invalid model: {path} cannot be read ({error}); restore it with git, or "
            "publish the model again."
        ) from error
    if not _is_card(card):
        raise UserError(
            f"Invalid model: {path} is no card of this program; publish the model "
            "again."
        )
    return card


def _is_card(card: Any) -> bool:
    """Returns whether all is there that others rely on."""
    try:
        shlex.split(card["command"])
        parts = [card["training"], card["input"], card.get("recipe", {})]
        known = isinstance(card["sha256"], str) and len(card["class_names"]) > 0
    except (KeyError, TypeError, ValueError, AttributeError):
        return False
    return known and all(isinstance(part, dict) for part in parts)


def write_card(name: str, card: dict[str, Any], folder: pathlib.Path) -> None:
    """Writes the card of a model at once; its folder exists or is made.

    Args:
        name: Of the model.
        card: JSON.
        folder: Of the models.

    Raises:
        OSError: If it cannot be written; the old one is then as it was.
    """
    (folder / name).mkdir(parents=True, exist_ok=True)
    write_text_atomically(folder / name / CARD, json.dumps(card, indent=2) + "\n")


def suggestion(name: str) -> str:
    """Returns a hint, in brackets, for a name that is neither a path nor in the zoo."""
    near = difflib.get_close_matches(name, model_names(), n=2, cutoff=0.5)
    if not near:
        return ""
    return f"; of the models that come along, did you mean {' or '.join(near)}?"
