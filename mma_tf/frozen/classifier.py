"""A Keras classifier at fixed weights."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from mma_tf.frozen.layers import freeze_layer
from mma_tf.types import LogitsFn, Tensor


def freeze(classifier: keras.Model) -> LogitsFn:
    """Returns `classifier` in inference mode, at the weights that it has now.

    The layers of functional and sequential models, also where these are within each
    other, are taken one by one: those that `mma_tf.frozen.layers` knows compute the
    same with what can be prepared prepared, all others are called as they are. So is a
    whole model that is neither, and each of its weights is then read at every call.

    Args:
        classifier: Any Keras model with one input.

    Returns:
        Images to logits; to be used until the weights change, for gradients with
        respect to the images, not to the weights.
    """
    layers = _Layers(classifier)
    if not layers.known:
        return lambda images: classifier(images, training=False)
    walk = _InferenceMode(layers.run)
    spec = layers.input

    def logits_fn(images: Tensor) -> Tensor:
        images = tf.cast(images, spec.dtype)
        # Keras mends the shape of some images that lack an axis.
        whole = classifier if len(images.shape) != len(spec.shape) else walk
        return whole(images, training=False)

    return logits_fn


class _Layers:
    """The layers of a model, those that are known at fixed weights."""

    def __init__(self, model: keras.Model) -> None:
        self.known: dict[int, Callable] = {}
        # Keras has no public way through a functional model's graph. What a model
        # without this one computes, its own call tells, and so does a subclass's.
        graph = getattr(model, "_functional", model)
        self._graph = graph
        is_keras_own = type(model).__module__.startswith("keras.")
        if not is_keras_own or not hasattr(graph, "_run_through_graph"):
            return
        if len(graph.inputs) != 1:
            return
        self.input = graph.inputs[0]
        for operation in graph.operations:
            call = _freeze_part(operation)
            if call is not None:
                self.known[id(operation)] = call

    def run(self, inputs: Tensor) -> Any:
        """Returns what the model computes of `inputs`."""

        def for_inference(operation: keras.Operation) -> Callable:
            known = self.known.get(id(operation))

            def call(*args: Any, **kwargs: Any) -> Any:
                if known is not None:
                    # A mask, all that there may be besides, is for training.
                    return known(args[0])
                if "training" in kwargs:
                    kwargs["training"] = False
                return operation(*args, **kwargs)

            return call

        return self._graph._run_through_graph([inputs], operation_fn=for_inference)


def _freeze_part(operation: keras.Operation) -> Callable | None:
    if not isinstance(operation, keras.Model):
        return freeze_layer(operation)
    layers = _Layers(operation)
    return layers.run if layers.known else None


class _InferenceMode(keras.Layer):
    """Tells the layers that are called within it that they are not being trained."""

    def __init__(self, run: Callable[[Tensor], Any]) -> None:
        super().__init__(autocast=False, name="frozen")
        self._run = run

    def call(self, inputs: Tensor, training: bool | None = None) -> Any:
        del training  # Keras hands it on to all layers within.
        return self._run(inputs)
