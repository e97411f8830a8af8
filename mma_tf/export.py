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
_HALF = ("float16", "bfloat16")


def export_classifier(
    classifier: keras.Model, directory: pathlib.Path, description: dict[str, Any]
) -> None:
    """Writes `directory`/saved_model, and `directory`/classifier.json beside it.

    The SavedModel takes images `[any, height, width, channels]` float32 in [0, 1],
    computes in float32 whatever the training did, and returns logits `[any, classes]`.
    The folder is replaced as a whole, or not at all.

    Args:
        classifier: A built Keras model.
        directory: Is made, or replaced.
        description: What a user of the model wants to know, as JSON.

    Raises:
        RunError: If it cannot be written.
    """
    try:
        with replace_directory(directory) as partial:
            in_float32(classifier).export(str(partial / SAVED_MODEL), verbose=False)
            text = json.dumps(description, indent=2) + "\n"
            write_text_atomically(partial / DESCRIPTION, text)
    except (OSError, tf.errors.OpError) as error:
        raise RunError(
            f"The model cannot be written to {directory} ({reason_of(error)}): what "
            "was there is intact; make room and run the same command again."
        ) from error


def in_float32(classifier: keras.Model) -> keras.Model:
    """Returns a classifier with the same weights that computes in float32.

    In half precision, logits round to ties and small gradients to zero: attacks then
    find less than there is. `classifier` itself is returned if it computes in float32
    or float64 already, or if Keras cannot make it anew from its configuration, as it
    cannot with a subclass of `keras.Model`.

    Args:
        classifier: A built Keras model.
    """
    layers = classifier._flatten_layers(include_self=False)
    if not any(layer.compute_dtype in _HALF for layer in layers):
        return classifier
    try:
        twin = keras.models.clone_model(
            classifier, clone_function=_in_float32, recursive=True
        )
    except (ValueError, TypeError, NotImplementedError):
        return classifier
    twin.set_weights(classifier.get_weights())
    return twin


def _in_float32(layer: keras.Layer) -> keras.Layer:
    config = layer.get_config()
    if layer.compute_dtype in _HALF:
        config["dtype"] = "float32"
    return type(layer).from_config(config)
