"""A function's graph at the weights that it has now: a SavedModel's, for one."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import (
    convert_variables_to_constants_v2,
)

from mma_tf.devices import has_gpu
from mma_tf.frozen.convolution import block_side, gradient_in_blocks
from mma_tf.frozen.dense import transposing_pays
from mma_tf.types import Tensor

_GRADIENT = "_gradient_op_type"
_CONVOLUTION = "MmaTfFixedConv2D"
_PRODUCT = "MmaTfFixedMatMul"
# What is between a weight and the operation that uses it.
_PASS_THROUGH = ("Identity", "Cast")
# Relative to the largest value: a graph that lost something is off by far more.
_TOLERANCE = 1e-2


def freeze_function(
    function: Callable[[Tensor], Tensor], images: Tensor
) -> Callable[[Tensor], Tensor] | None:
    """Returns what a function computes, its variables being constants.

    TensorFlow computes beforehand what depends on constants alone, and the gradients of
    convolutions and of dense layers are those of `mma_tf.frozen`. It is meant for
    graphs whose making is over: those of Keras models change as they are trained.

    Args:
        function: Images to one tensor.
        images: `[n, ...]`, a few to try both on; others may have another n.

    Returns:
        The same function, faster, or None: its graph draws random numbers, keeps a
        state, prints, computes in half precision, or has something else in it that
        constants cannot replace, or what came out differed from `function`, in values
        or in the images' gradient.
    """
    spec = tf.TensorSpec([None, *images.shape[1:]], images.dtype)
    try:
        concrete = tf.function(function, autograph=False).get_concrete_function(spec)
        constants = convert_variables_to_constants_v2(
            concrete, lower_control_flow=False
        )
        if any(_is_left_alone(part) for part in constants.graph.get_operations()):
            return None
        frozen = _import(constants)
        return frozen if _are_same(function, frozen, images) else None
    # What TensorFlow cannot do with a graph it finds out in many places, each with an
    # error of its own; `function` can always do without.
    except Exception:
        return None


def _is_left_alone(operation: tf.Operation) -> bool:
    # Half precision rounds otherwise where operations are joined otherwise, and what
    # was an error for the attack would often be none when the original is asked.
    in_half = any(out.dtype in (tf.float16, tf.bfloat16) for out in operation.outputs)
    return in_half or operation.op_def.is_stateful


def _import(constants: Any) -> Callable[[Tensor], Tensor]:
    (source,), (result,) = constants.inputs, constants.outputs
    graph = constants.graph.as_graph_def()
    _choose_gradients(graph)

    # A tape sees a call of a function, but not the operations of an imported graph.
    @tf.function(autograph=False)
    def frozen(images: Tensor) -> Tensor:
        (outputs,) = tf.graph_util.import_graph_def(
            graph,
            input_map={source.name: images},
            return_elements=[result.name],
            name="",
        )
        return outputs

    return frozen


def _are_same(
    function: Callable[[Tensor], Tensor],
    frozen: Callable[[Tensor], Tensor],
    images: Tensor,
) -> bool:
    pairs = zip(
        _outputs_and_gradient(function, images),
        _outputs_and_gradient(frozen, images),
        strict=True,
    )
    return all(_are_close(expected, found) for expected, found in pairs)


def _outputs_and_gradient(
    function: Callable[[Tensor], Tensor], images: Tensor
) -> tuple[Tensor, Tensor | None]:
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(images)
        outputs = function(images)
        # Each output with a weight of its own.
        total = tf.reduce_sum(tf.sin(outputs) * outputs)
    try:
        return outputs, tape.gradient(total, images)
    # An operation without a gradient: both have to be so.
    except (LookupError, ValueError):
        return outputs, None


def _are_close(expected: Tensor | None, found: Tensor | None) -> bool:
    if expected is None or found is None:
        return expected is found
    values, others = expected.numpy().astype("float64"), found.numpy()
    largest = np.max(np.abs(values), initial=0.0, where=np.isfinite(values))
    return np.allclose(
        values, others, rtol=0.0, atol=_TOLERANCE * largest, equal_nan=True
    )


def _choose_gradients(graph: Any) -> None:
    """Marks those operations whose gradient is to be one of those below."""
    nodes = {node.name: node for node in graph.node}
    for node in graph.node:
        if node.op not in ("Conv2D", "MatMul") or _GRADIENT in node.attr:
            continue
        shape = _constant_shape(nodes, node.input[1])
        if shape is None:
            continue
        if node.op == "Conv2D" and _is_plain_convolution(node, shape):
            node.attr[_GRADIENT].s = _CONVOLUTION.encode()
        if node.op == "MatMul" and _is_plain_product(node):
            node.attr[_GRADIENT].s = _PRODUCT.encode()


def _constant_shape(nodes: dict[str, Any], name: str) -> list[int] | None:
    """Returns the shape of what a node is given, if that is a constant."""
    node = nodes.get(name.removesuffix(":0"))
    while node is not None and node.op in _PASS_THROUGH:
        node = nodes.get(node.input[0].removesuffix(":0"))
    if node is None or node.op != "Const":
        return None
    return [dimension.size for dimension in node.attr["value"].tensor.tensor_shape.dim]


def _is_plain_convolution(node: Any, kernel_shape: list[int]) -> bool:
    strides = list(node.attr["strides"].list.i)
    return (
        not has_gpu()
        and node.attr["data_format"].s in (b"", b"NHWC")
        and node.attr["padding"].s in (b"SAME", b"VALID")
        and set(node.attr["dilations"].list.i) <= {1}
        and strides[1] == strides[2]
        and block_side(kernel_shape[2], strides[1]) is not None
    )


def _is_plain_product(node: Any) -> bool:
    is_transposed = node.attr["transpose_a"].b or node.attr["transpose_b"].b
    return not is_transposed and transposing_pays(tf.as_dtype(node.attr["T"].type))


@tf.RegisterGradient(_CONVOLUTION)
def _convolution_gradient(
    operation: tf.Operation, upstream: Tensor
) -> tuple[Tensor, None]:
    inputs, kernel = operation.inputs
    strides = operation.get_attr("strides")
    padding = operation.get_attr("padding").decode()
    extents = tuple(inputs.shape[1:3])
    gradient_of = gradient_in_blocks(kernel, stride=strides[1], padding=padding.lower())
    if gradient_of is not None and None not in extents:
        return gradient_of(upstream, extents), None
    gradient = tf.raw_ops.Conv2DBackpropInput(
        input_sizes=tf.shape(inputs),
        filter=kernel,
        out_backprop=upstream,
        strides=strides,
        padding=padding,
    )
    return gradient, None


@tf.RegisterGradient(_PRODUCT)
def _product_gradient(operation: tf.Operation, upstream: Tensor) -> tuple[Tensor, None]:
    return upstream @ tf.transpose(operation.inputs[1]), None
