"""From a trained classifier to what others load."""

import json
import pathlib
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from mma_tf.errors import RunError, UserError, reason_of
from mma_tf.files import replace_directory, sha256_of, write_text_atomically
from mma_tf.models.precision import in_float32
from mma_tf.types import Tensor
from mma_tf.zoo import CARD, SAVED_MODEL

DESCRIPTION = "classifier.json"
# In it, of a network of the user's own: Keras' configuration of the classifier.
ARCHITECTURE = "architecture"


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
    twin = in_float32(classifier)
    _write(
        directory,
        lambda folder: twin.export(folder, verbose=False),
        lambda saved_model: {DESCRIPTION: description},
    )


def export_compactly(
    classifier: keras.Model, directory: pathlib.Path, card: dict[str, Any]
) -> None:
    """Writes `directory`/saved_model in half the space, and `directory`/card.json.

    As `export_classifier` does, but kernels are stored as 16-bit multiples of a unit of
    their own. It computes in float32 with the rounded kernels; biases and statistics
    are stored as they are. What is to be reported of it has to be measured on it.

    Args:
        classifier: A built Keras model.
        directory: Is made, or replaced.
        card: What a user of the model wants to know, as JSON; "sha256" is put in.

    Raises:
        UserError: If the classifier is not one of images in, logits out.
        RunError: If it cannot be written.
    """
    twin = in_float32(classifier)
    if not isinstance(getattr(twin, "input_shape", None), tuple):
        raise UserError(
            "Invalid `classifier`: expected a Keras model of one input whose shape is "
            f"known. Received: {classifier.name}"
        )
    stored = _Stored(twin)

    def serve(images: Tensor) -> Tensor:
        logits, _ = twin.stateless_call(
            [restored(weight) for weight in stored.stored_trainable],
            [tf.identity(weight) for weight in stored.stored_others],
            images,
            training=False,
        )
        return logits

    spec = tf.TensorSpec((None, *twin.input_shape[1:]), tf.float32, name="images")
    stored.serve = tf.function(serve, input_signature=[spec])
    signatures = {"serving_default": stored.serve}
    _write(
        directory,
        lambda folder: tf.saved_model.save(stored, folder, signatures=signatures),
        lambda saved_model: {CARD: {**card, "sha256": sha256_of(saved_model)}},
    )


def architecture_of(classifier: keras.Model) -> dict[str, Any] | None:
    """Returns Keras' configuration of a classifier that computes in float32.

    None if it has none, as some subclasses of `keras.Model`.
    """
    try:
        return json.loads(in_float32(classifier).to_json())
    except (NotImplementedError, TypeError, ValueError):
        return None


def _write(
    directory: pathlib.Path,
    save: Callable[[str], None],
    describe: Callable[[pathlib.Path], dict[str, dict[str, Any]]],
) -> None:
    """Writes a SavedModel, then JSON files by name that may tell of it."""
    try:
        with replace_directory(directory) as partial:
            save(str(partial / SAVED_MODEL))
            for name, content in describe(partial / SAVED_MODEL).items():
                text = json.dumps(content, indent=2) + "\n"
                write_text_atomically(partial / name, text)
    except (OSError, tf.errors.OpError) as error:
        raise RunError(
            f"The model cannot be written to {directory} ({reason_of(error)}): what "
            "was there is intact; make room and run the same command again."
        ) from error


class StoredWeight(tf.Module):
    """A weight as it is stored: a kernel as 16-bit numbers and the size of their unit.

    Args:
        weight: Of any shape; one of less than two dimensions is stored as it is.
    """

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        if weight.shape.rank < 2:
            self.values = tf.Variable(weight)
            self.unit = None
            return
        # Not float16: TensorFlow complains on stderr where the CPU has no such numbers.
        self.unit = tf.Variable(tf.reduce_max(tf.abs(weight)) / tf.int16.max)
        levels = tf.round(tf.math.divide_no_nan(weight, self.unit))
        self.values = tf.Variable(tf.cast(levels, tf.int16))


def restored(weight: Any) -> Tensor:
    """Returns a `StoredWeight`, or one that was loaded, as it is computed with."""
    unit = getattr(weight, "unit", None)
    if unit is None:
        return tf.identity(weight.values)
    return tf.cast(weight.values, unit.dtype) * unit


class _Stored(tf.Module):
    """The weights of a classifier as they are stored, and its function."""

    serve: Any

    def __init__(self, classifier: keras.Model) -> None:
        super().__init__()
        self.stored_trainable = [
            StoredWeight(variable.value) for variable in classifier.trainable_variables
        ]
        self.stored_others = [
            tf.Variable(variable.value, trainable=False)
            for variable in classifier.non_trainable_variables
        ]
