"""SavedModels of anyone's making as functions from images to logits."""

import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from mma_tf.errors import UserError, reason_of
from mma_tf.types import Tensor

# Keras' `export` makes the first, TensorFlow the second.
_SERVE = "serve"
_DEFAULT_SIGNATURE = "serving_default"


class Endpoint(NamedTuple):
    """A function of a SavedModel that classifies images.

    Attributes:
        name: Of the endpoint or signature; None if the object itself is called.
        function: Images to outputs, in the dtype that the model wants.
        dtype: Of the images that it wants, None if that is not declared.
        batch_size: The one batch size that it takes, None if any.
    """

    name: str | None
    function: Callable[[Tensor], Any]
    dtype: tf.DType | None
    batch_size: int | None


def load_endpoint(folder: pathlib.Path, signature: str | None) -> Endpoint:
    """Returns the endpoint of a SavedModel, its variables kept alive by it.

    Args:
        folder: With a saved_model.pb.
        signature: Name of an endpoint or signature; by default `serve`, then
            `serving_default`, then the object itself, then the only signature.

    Raises:
        UserError: If the SavedModel cannot be read, has no such endpoint, several that
            might be meant, or one with other than one input and one output.
    """
    try:
        loaded = tf.saved_model.load(str(folder))
    # What a broken file raises depends on where it is broken.
    except Exception as error:
        raise UserError(
            f"Invalid `--model`: {folder} cannot be read as a SavedModel "
            f"({reason_of(error)})."
        ) from error
    signatures = dict(getattr(loaded, "signatures", {}))
    if signature is not None:
        if signature in signatures:
            return _of_signature(loaded, folder, signature, signatures[signature])
        if callable(getattr(loaded, signature, None)):
            return _of_function(loaded, signature, getattr(loaded, signature))
        names = _names(loaded, signatures)
        raise UserError(
            f"Invalid `--signature`: expected one of those of {folder} "
            f"({names}). Received: --signature={signature}"
        )
    if callable(getattr(loaded, _SERVE, None)):
        return _of_function(loaded, _SERVE, loaded.serve)
    if _DEFAULT_SIGNATURE in signatures:
        chosen = signatures[_DEFAULT_SIGNATURE]
        return _of_signature(loaded, folder, _DEFAULT_SIGNATURE, chosen)
    if callable(loaded):
        return _of_function(loaded, None, loaded)
    if len(signatures) == 1:
        ((name, chosen),) = signatures.items()
        return _of_signature(loaded, folder, name, chosen)
    if signatures:
        raise UserError(
            f"Invalid `--signature`: {folder} has several ({', '.join(signatures)}); "
            "name one by --signature."
        )
    raise UserError(
        f"Invalid `--model`: expected a classifier. Received: {folder}, which has "
        "neither an endpoint `serve` nor a signature, and cannot be called"
    )


def _names(loaded: Any, signatures: dict[str, Any]) -> str:
    own = [_SERVE] if callable(getattr(loaded, _SERVE, None)) else []
    return ", ".join(dict.fromkeys([*own, *signatures])) or "it has none"


def _of_signature(
    loaded: Any, folder: pathlib.Path, name: str, signature: Any
) -> Endpoint:
    _, inputs = signature.structured_input_signature
    outputs = signature.structured_outputs
    for kind, found in (("input", inputs), ("output", outputs)):
        if len(found) != 1:
            raise UserError(
                f"Invalid `--model`: expected one {kind}, images in and logits out. "
                f"Received: {folder}, whose signature {name} has {len(found)} {kind}s "
                f"({', '.join(found)})"
            )
    ((argument, spec),) = inputs.items()
    ((result, _),) = outputs.items()

    # A signature does not keep alive the variables that it uses; `loaded` does.
    kept = (loaded, signature)

    def function(images: Tensor) -> Any:
        return kept[1](**{argument: images})[result]

    return Endpoint(name, function, spec.dtype, _batch_size(spec))


def _of_function(loaded: Any, name: str | None, called: Any) -> Endpoint:
    spec = _image_spec(called if name is not None else loaded.__call__)
    # A model of Keras 2 is called in inference mode only if that is said.
    takes_training = name is None and _takes_training(loaded)

    def function(images: Tensor) -> Any:
        target = loaded if name is None else getattr(loaded, name)
        return target(images, training=False) if takes_training else target(images)

    dtype = None if spec is None else spec.dtype
    return Endpoint(name, function, dtype, None if spec is None else _batch_size(spec))


def _concrete(called: Any) -> list[Any]:
    return list(getattr(called, "concrete_functions", None) or [])


def _image_spec(called: Any) -> tf.TensorSpec | None:
    for function in _concrete(called):
        arguments, _ = function.structured_input_signature
        specs = [spec for spec in arguments if isinstance(spec, tf.TensorSpec)]
        if len(specs) == 1:
            return specs[0]
    return None


def _takes_training(loaded: Any) -> bool:
    called = loaded.__call__
    spec = getattr(called, "function_spec", None) or getattr(
        called, "_function_spec", None
    )
    names = list(getattr(spec, "arg_names", ())) or list(
        getattr(getattr(spec, "function_type", None), "parameters", ())
    )
    return "training" in names


def _batch_size(spec: Any) -> int | None:
    shape = getattr(spec, "shape", None)
    return None if shape is None or shape.rank in (None, 0) else shape[0]
