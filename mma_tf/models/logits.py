"""Logits are what a classifier gives: how to make them, how to see that it does not."""

import keras
import numpy as np

from mma_tf.errors import UserError

_PROBE_IMAGES = 4
_PROBABILITIES = ("softmax", "sigmoid", "log_softmax")


def logits_layer(num_classes: int) -> keras.layers.Dense:
    """Returns the last layer of a network: dense, and never in half precision.

    Losses of half precision logits tie where those of float32 differ.
    """
    policy = keras.config.dtype_policy()
    return keras.layers.Dense(num_classes, dtype=policy.variable_dtype, name="logits")


def check_logits(classifier: keras.Model) -> None:
    """Checks that a classifier gives logits, and not probabilities.

    Looks at the last layer, and, where the input's shape is known, at what the
    classifier says of a few random images.

    Args:
        classifier: Images [0, 1] to `[batch, classes]`.

    Raises:
        UserError: If its outputs are, or look like, probabilities.
    """
    activation = _last_activation(classifier)
    if activation in _PROBABILITIES:
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


def _last_activation(layer: keras.Layer) -> str | None:
    if isinstance(layer, keras.Model):
        outputs = _output_layers(layer)
        return _last_activation(outputs[-1]) if outputs else None
    if isinstance(layer, keras.layers.Softmax):
        return "softmax"
    activation = getattr(layer, "activation", None)
    return getattr(activation, "__name__", None)


def _output_layers(model: keras.Model) -> list[keras.Layer]:
    outputs = getattr(model, "outputs", None)
    if outputs is None:
        # A Sequential that is not built yet knows its order; a subclassed model's
        # attributes say nothing of it.
        return model.layers if isinstance(model, keras.Sequential) else []
    return [tensor._keras_history.operation for tensor in outputs]


def _gives_probabilities(classifier: keras.Model) -> bool:
    shape = getattr(classifier, "input_shape", None)
    if not isinstance(shape, tuple) or None in shape[1:]:
        return False
    images = np.random.default_rng(0).uniform(size=(_PROBE_IMAGES, *shape[1:]))
    outputs = keras.ops.convert_to_numpy(classifier(images, training=False))
    return are_probabilities(outputs)


def are_probabilities(outputs: np.ndarray) -> bool:
    """Returns whether `[batch, classes]` lie in [0, 1] and each row adds up to 1."""
    outputs = outputs.astype("float64")
    is_unit = np.all((outputs >= 0) & (outputs <= 1))
    return bool(is_unit and np.allclose(outputs.sum(axis=-1), 1, atol=1e-3))
