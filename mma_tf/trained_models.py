"""Trained models of this program as Keras models, to build on."""

import json
import pathlib
from typing import Any

import keras
import tensorflow as tf

from mma_tf.errors import UserError, reason_of
from mma_tf.export import ARCHITECTURE, DESCRIPTION, restored
from mma_tf.load import find_model
from mma_tf.models.registry import build
from mma_tf.zoo import CARD


def load_model(name: str | pathlib.Path) -> keras.Model:
    """Returns a classifier that this program has trained, as a Keras model.

    It can be called, trained further, evaluated by `mma_tf.evaluate`, and saved:

        classifier = mma_tf.load_model("mnist-linf-mma-0.45")
        logits = classifier(images)

    Args:
        name: The name of a model that comes with the checkout (a folder in `models/`),
            or the path of a run directory, whose best model is meant.

    Returns:
        Images `[batch, height, width, channels]` float32 in [0, 1] to logits
        `[batch, classes]`; float32 throughout.

    Raises:
        UserError: If there is no such model, or it is not one of this program's.
    """
    saved_model = find_model(name)
    about = _description(saved_model)
    policy = keras.config.dtype_policy()
    # The network is built for float32, whatever the caller's own models compute in.
    keras.config.set_dtype_policy("float32")
    try:
        classifier = _network(about)
    except (KeyError, TypeError) as error:
        raise UserError(
            f"Invalid model: the description beside {saved_model} lacks {error}; give "
            "a model that this version of bin/train or bin/publish has made."
        ) from error
    except ValueError as error:
        raise UserError(
            f"Invalid model: {saved_model} is of a network that cannot be built here "
            f"({reason_of(error)}); load it by tf.saved_model.load."
        ) from error
    finally:
        keras.config.set_dtype_policy(policy)
    _restore_weights(classifier, saved_model)
    return classifier


def _network(about: dict[str, Any]) -> keras.Model:
    """Returns the network that a description tells of, its weights still to come."""
    architecture = about.get(ARCHITECTURE)
    if architecture is not None:
        # Keras runs no code that a configuration brings along.
        return keras.models.model_from_json(json.dumps(architecture))
    recipe = about["recipe"]
    return build(
        recipe["network"],
        input_shape=tuple(about["input"]["shape"]),
        num_classes=len(about["class_names"]),
        depth=recipe["depth"],
        width=recipe["width"],
    )


def _description(saved_model: pathlib.Path) -> dict[str, Any]:
    for name in (CARD, DESCRIPTION):
        path = saved_model.parent / name
        if path.is_file():
            try:
                return json.loads(path.read_text("utf-8"))
            except ValueError as error:
                raise UserError(
                    f"Invalid model: {path} is damaged ({reason_of(error)})."
                ) from error
    raise UserError(
        "Invalid model: expected one that `bin/train` has made. Received: "
        f"{saved_model}, without a {DESCRIPTION} beside it (load it by "
        "tf.saved_model.load, or keras.saving.load_model)"
    )


def _restore_weights(classifier: keras.Model, saved_model: pathlib.Path) -> None:
    weights = [*classifier.trainable_variables, *classifier.non_trainable_variables]
    try:
        loaded = tf.saved_model.load(str(saved_model))
        if hasattr(loaded, "stored_trainable"):
            trainable = [restored(weight) for weight in loaded.stored_trainable]
            values = [*trainable, *loaded.stored_others]
        else:
            values = [*loaded.trainable_variables, *loaded.non_trainable_variables]
        for weight, value in zip(weights, values, strict=True):
            weight.assign(tf.cast(value, weight.dtype))
    # What a damaged file raises depends on where it is damaged.
    except Exception as error:
        raise UserError(
            f"Invalid model: {saved_model} does not hold the weights of this network "
            f"({reason_of(error)})."
        ) from error
