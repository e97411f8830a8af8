"""Logits are what a classifier gives: how to make them, how to see that it does not."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from mma_tf.errors import UserError

_PROBE_IMAGES = 4
# Activations whose outputs are no logits, by the names that they have as operations, in
# a functional model made with keras.ops. A log_softmax is not among them: it shifts all
# logits of an image alike, which changes no loss and no margin.
_OPERATIONS = {"Softmax": "softmax", "Sigmoid": "sigmoid"}
# What may stand behind a softmax and changes nothing of it.
_PASS_THROUGH = (
    keras.layers.Dropout,
    keras.layers.Flatten,
    keras.layers.Identity,
    keras.layers.Reshape,
)


def logits_layer(
    num_classes: int, kernel_init: str = "glorot_uniform"
) -> keras.layers.Dense:
    """Returns the last layer of a network: dense, and never in half precision.

    Losses of half precision logits tie where those of float32 differ.
    """
    policy = keras.config.dtype_policy()
    return keras.layers.Dense(
        num_classes,
        dtype=policy.variable_dtype,
        kernel_initializer=kernel_init,
        name="logits",
    )


def check_logits(classifier: keras.Model) -> None:
    """Checks that a classifier gives logits, and not probabilities.

    Looks at the last layer, and, where the input's shape is known, at what the
    classifier says of a few random images.

    Args:
        classifier: Images [0, 1] to `[batch, classes]`.

    Raises:
        UserError: If its outputs are, or look like, probabilities, or are several.
    """
    activation = _last_activation(classifier)
    if activation in _OPERATIONS.values():
        raise UserError(
            "Invalid classifier: expected logits. Received: "
            f"{classifier.name} that ends in a {activation} (leave that layer out and "
            "pass logits)"
        )
    if _gives_probabilities(classifier):
        raise UserError(
            "Invalid classifier: expected logits. Received: "
            f"{classifier.name} whose outputs for random images lie in [0, 1] and add "
            "up to 1, like a softmax's (leave that out and pass logits)"
        )


def _last_activation(layer: Any) -> str | None:
    """Returns the name of the activation that a layer ends in, where it shows."""
    if isinstance(layer, keras.Model):
        ends = (part for part in reversed(_parts(layer)) if not _changes_nothing(part))
        return next(map(_last_activation, ends), None)
    activation = getattr(layer, "activation", None)
    name = getattr(activation, "__name__", None)
    return name or _OPERATIONS.get(type(layer).__name__)


def _changes_nothing(layer: Any) -> bool:
    # Activation("linear") with a dtype is how many networks make float32 of the logits.
    is_linear = getattr(layer, "activation", None) is keras.activations.linear
    is_activation = isinstance(layer, keras.layers.Activation)
    return isinstance(layer, _PASS_THROUGH) or (is_activation and is_linear)


def _parts(model: keras.Model) -> Sequence[Any]:
    """Returns what a model is made of, the output last; nothing if that is unknown."""
    if isinstance(model, keras.Sequential):
        return model.layers
    # A subclassed model's attributes say nothing of their order.
    return getattr(model, "operations", ())


def _gives_probabilities(classifier: keras.Model) -> bool:
    shape = getattr(classifier, "input_shape", None)
    if not isinstance(shape, tuple) or None in shape[1:]:
        return False
    batch = shape[0] or _PROBE_IMAGES
    images = np.random.default_rng(0).uniform(size=(batch, *shape[1:]))
    outputs = classifier(images.astype("float32"), training=False)
    if not keras.ops.is_tensor(outputs):
        raise UserError(
            "Invalid classifier: expected one output, logits. Received: "
            f"{classifier.name} that gives a {type(outputs).__name__}"
        )
    return are_probabilities(keras.ops.convert_to_numpy(outputs))


def are_probabilities(outputs: np.ndarray) -> bool:
    """Returns whether `[batch, classes]` lie in [0, 1] and each row adds up to 1."""
    outputs = outputs.astype("float64")
    is_unit = np.all((outputs >= 0) & (outputs <= 1))
    return bool(is_unit and np.allclose(outputs.sum(axis=-1), 1, atol=1e-3))
