"""Exported classifiers, loaded to be judged."""

import pathlib
from typing import Any

import numpy as np
import tensorflow as tf

from mma_tf.errors import UserError, reason_of
from mma_tf.export import SAVED_MODEL
from mma_tf.models.inference import at_least_float32
from mma_tf.models.logits import are_probabilities
from mma_tf.types import LogitsFn


def find_saved_model(path: pathlib.Path) -> pathlib.Path:
    """Returns the SavedModel that `path` means.

    Args:
        path: A SavedModel folder, a run directory (its best model is meant), or its
            best/ or last/.

    Raises:
        UserError: If there is none.
    """
    for folder in (path, path / SAVED_MODEL, path / "best" / SAVED_MODEL):
        if (folder / "saved_model.pb").is_file():
            return folder
    raise UserError(
        "Invalid `--model`: expected a SavedModel folder or a run directory. Received: "
        f"--model={path} (there is no saved_model.pb in it)"
    )


def load_logits_fn(
    path: pathlib.Path, images: np.ndarray, *, num_classes: int
) -> LogitsFn:
    """Returns a SavedModel as a function from images to logits.

    Args:
        path: As `find_saved_model` takes it. The model has an endpoint `serve`, as
            Keras' `Model.export` makes it.
        images: A few images, on which the model is tried.
        num_classes: How many logits it has to give.

    Raises:
        UserError: If the model cannot be loaded, does not take such images, gives
            another number of outputs, or probabilities.
    """
    folder = find_saved_model(path)
    try:
        loaded = tf.saved_model.load(str(folder))
        serve = loaded.serve
        outputs = serve(tf.constant(images)).numpy()
    except (OSError, AttributeError, ValueError, TypeError, tf.errors.OpError) as error:
        raise UserError(
            f"Invalid `--model`: {folder} cannot be used as a classifier of images of "
            f"shape {images.shape[1:]} ({reason_of(error)})."
        ) from error
    if outputs.shape != (len(images), num_classes):
        raise UserError(
            f"Invalid `--model`: expected {num_classes} logits for each image. "
            f"Received: {folder} whose outputs for {len(images)} images have shape "
            f"{outputs.shape}"
        )
    if are_probabilities(outputs):
        raise UserError(
            f"Invalid `--model`: expected logits. Received: {folder} whose outputs lie "
            "in [0, 1] and add up to 1, like a softmax's (export it without)"
        )

    def logits_fn(batch: Any) -> Any:
        # `loaded` is named so that its variables live as long as this function.
        return at_least_float32(loaded.serve(batch))

    return logits_fn
