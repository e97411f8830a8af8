"""Keras layers at fixed weights: what each of them computes in inference mode."""

from collections.abc import Callable

import keras
import tensorflow as tf

from mma_tf.devices import has_gpu
from mma_tf.frozen.convolution import convolution
from mma_tf.frozen.dense import dense
from mma_tf.frozen.normalization import normalization
from mma_tf.types import Tensor


def freeze_layer(layer: keras.Operation) -> Callable[[Tensor], Tensor] | None:
    """Returns what the layer computes at its present weights, if that is known here.

    Args:
        layer: A layer, or any operation of a functional model.

    Returns:
        A function of the layer's input, or None: the layer has to be called itself.
    """
    # A subclass may compute anything.
    freezers: dict[type, Callable] = {
        keras.layers.Conv2D: _freeze_convolution,
        keras.layers.Dense: _freeze_dense,
        keras.layers.BatchNormalization: _freeze_normalization,
    }
    freezer = freezers.get(type(layer))
    if freezer is None or not layer.built or _is_altered(layer):
        return None
    return freezer(layer)


def _is_altered(layer: keras.Layer) -> bool:
    return bool(
        "call" in vars(layer)
        or getattr(layer, "quantization_mode", None)
        or getattr(layer, "lora_enabled", False)
    )


def _freeze_convolution(
    layer: keras.layers.Conv2D,
) -> Callable[[Tensor], Tensor] | None:
    height, width = layer.strides
    is_plain = (
        height == width
        and tuple(layer.dilation_rate) == (1, 1)
        and layer.groups == 1
        and layer.data_format == "channels_last"
        and layer.padding in ("same", "valid")
    )
    if not is_plain:
        return None
    convolve = convolution(
        _fixed(layer.kernel, layer),
        stride=height,
        padding=layer.padding,
        # A GPU's own kernels need no help.
        in_blocks=not has_gpu(),
    )
    return _with_bias_and_activation(convolve, layer)


def _freeze_dense(layer: keras.layers.Dense) -> Callable[[Tensor], Tensor]:
    product = dense(_fixed(layer.kernel, layer))
    return _with_bias_and_activation(product, layer)


def _freeze_normalization(
    layer: keras.layers.BatchNormalization,
) -> Callable[[Tensor], Tensor] | None:
    rank = layer.input_spec.ndim
    if layer.axis % rank != rank - 1:
        return None
    scale = tf.math.rsqrt(_value(layer.moving_variance) + layer.epsilon)
    if layer.scale:
        scale *= _value(layer.gamma)
    offset = -_value(layer.moving_mean) * scale
    if layer.center:
        offset += _value(layer.beta)
    normalize = normalization(scale, offset)
    return lambda inputs: normalize(tf.cast(inputs, layer.compute_dtype))


def _with_bias_and_activation(
    linear: Callable[[Tensor], Tensor], layer: keras.layers.Conv2D | keras.layers.Dense
) -> Callable[[Tensor], Tensor]:
    bias = _fixed(layer.bias, layer) if layer.use_bias else None

    def call(inputs: Tensor) -> Tensor:
        outputs = linear(tf.cast(inputs, layer.compute_dtype))
        if bias is not None:
            # Not an addition, as in Keras: TensorFlow joins this with what is before
            # and behind it.
            outputs = tf.nn.bias_add(outputs, bias)
        return layer.activation(outputs) if layer.activation is not None else outputs

    return call


def _fixed(weight: keras.Variable, layer: keras.Layer) -> Tensor:
    return tf.cast(_value(weight), layer.compute_dtype)


def _value(weight: keras.Variable) -> Tensor:
    # A copy: the variable itself would be read again at every call.
    return tf.stop_gradient(tf.identity(tf.convert_to_tensor(weight)))
