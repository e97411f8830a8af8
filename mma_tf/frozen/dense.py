"""A dense layer with a faster gradient with respect to its inputs."""

from collections.abc import Callable

import tensorflow as tf

from mma_tf.types import Tensor


def dense(kernel: Tensor) -> Callable[[Tensor], Tensor]:
    """Returns the product with a fixed kernel, in values as in gradients.

    The kernel gets no gradient. In float32 it is transposed once, not at every
    gradient: up to twice as fast on a CPU. In half precision, whose products rearrange
    it in any case, a second copy would only fill the cache.

    Args:
        kernel: `[inputs, units]`.

    Returns:
        Inputs `[..., inputs]` to `[..., units]`.
    """
    kernel = tf.stop_gradient(kernel)
    if not transposing_pays(kernel.dtype):
        return lambda inputs: inputs @ kernel
    transposed = tf.transpose(kernel)

    @tf.custom_gradient
    def product(inputs: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        return inputs @ kernel, lambda upstream: upstream @ transposed

    return product


def transposing_pays(dtype: tf.DType) -> bool:
    """Returns whether a gradient by a kernel that was transposed before is faster."""
    return dtype in (tf.float32, tf.float64)
