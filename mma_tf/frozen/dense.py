"""A dense layer with a faster gradient with respect to its inputs."""

from collections.abc import Callable

import tensorflow as tf

from mma_tf.types import Tensor


def dense(kernel: Tensor) -> Callable[[Tensor], Tensor]:
    """Returns the product with a fixed kernel, in values as in gradients.

    In full precision the kernel is transposed once, not at every gradient: up to twice
    as fast on a CPU, and slower in half precision. It gets no gradient itself.

    Args:
        kernel: `[inputs, units]`.

    Returns:
        Inputs `[..., inputs]` to `[..., units]`.
    """
    kernel = tf.stop_gradient(kernel)
    if kernel.dtype not in (tf.float32, tf.float64):
        return lambda inputs: inputs @ kernel
    transposed = tf.transpose(kernel)

    @tf.custom_gradient
    def product(inputs: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        return inputs @ kernel, lambda upstream: upstream @ transposed

    return product
