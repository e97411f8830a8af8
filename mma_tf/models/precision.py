"""A classifier in another precision."""

import keras

_HALF = ("float16", "bfloat16")


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
