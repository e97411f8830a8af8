"""From a trained classifier to what others load."""

import json
import pathlib
from typing import Any

import keras
import tensorflow as tf

from mma_tf.errors import RunError, reason_of
from mma_tf.files import replace_directory, write_text_atomically

SAVED_MODEL = "saved_model"
DESCRIPTION = "classifier.json"


def export_classifier(
    classifier: keras.Model, directory: pathlib.Path, description: dict[str, Any]
) -> None:
    """Writes `directory`/saved_model, and `directory`/classifier.json beside it.

    The SavedModel takes images `[any, height, width, channels]` float32 in [0, 1] and
    returns logits `[any, classes]`. The folder is replaced as a whole, or not at all.

    Args:
        classifier: A built Keras model.
        directory: Is made, or replaced.
        description: What a user of the model wants to know, as JSON.

    Raises:
        RunError: If it cannot be written.
    """
    try:
        with replace_directory(directory) as partial:
            classifier.export(str(partial / SAVED_MODEL), verbose=False)
            text = json.dumps(description, indent=2) + "\n"
            write_text_atomically(partial / DESCRIPTION, text)
    except (OSError, tf.errors.OpError) as error:
        raise RunError(
            f"The model cannot be written to {directory} ({reason_of(error)}): what "
            "was there is intact; make room and run the same command again."
        ) from error
