"""The trained models that come with the checkout, by their names.

Each is a folder `models/<name>` with a card.json: where the model comes from, what its
training cost, and what was measured. Most have a saved_model/ beside it; of the others
the card tells the command that makes it.
"""

import difflib
import json
import pathlib
from typing import Any

from mma_tf.errors import UserError
from mma_tf.files import write_text_atomically

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "models"
CARD = "card.json"
SAVED_MODEL = "saved_model"


def card_names(folder: pathlib.Path | None = None) -> list[str]:
    """Returns the names of all models that have a card, sorted.

    Args:
        folder: Of the models; by default that of the checkout.
    """
    folder = FOLDER if folder is None else folder
    return sorted(path.parent.name for path in folder.glob(f"*/{CARD}"))


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
        UserError: If there is its card, but not the model itself.
    """
    folder = FOLDER if folder is None else folder
    if name not in card_names(folder):
        return None
    if (folder / name / SAVED_MODEL).is_dir():
        return folder / name
    raise UserError(
        f"Invalid `--model`: {name} is not kept with the checkout; train it by "
        f"{read_card(name, folder)['command']} and give the run directory."
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
    needed = ("command", "sha256", "training", "input", "class_names")
    if not isinstance(card, dict) or any(key not in card for key in needed):
        raise UserError(
            f"Invalid model: {path} is no card of this program; publish the model "
            "again."
        )
    return card


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
