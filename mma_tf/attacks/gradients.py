"""Gradients with respect to images."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from mma_tf.devices import has_gpu
from mma_tf.per_example import over_pixels
from mma_tf.types import LogitsFn, Tensor

# Of a float32's bits.
_EXPONENT = 0x7F800000

ValuesFn = Callable[[Tensor], tuple[Tensor, Tensor]]


def value_and_gradient(
    function: ValuesFn, points: Tensor
) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """Returns `(values, logits) = function(points)`, and `finite` gradients of values.

    Args:
        function: Points `[batch, ...]` to logits, and to values `[batch]` of these.
        points: `[batch, ...]`.

    Raises:
        ValueError: If there is no gradient.
    """

    def compute(points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        # Persistent: it is asked twice.
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            tape.watch(points)
            values, logits = function(points)
        slopes = tape.gradient(values, logits)
        gradients = None
        if slopes is not None:
            # A confident loss' slopes are too small for a network in float16, and the
            # attack would stand still.
            units = _powers_of_two_below(slopes)
            gradients = tape.gradient(logits, points, output_gradients=slopes / units)
        if gradients is not None:
            gradients *= over_pixels(tf.cast(units, gradients.dtype), gradients)
        else:
            raise ValueError(
                "Invalid `logits_fn`: expected a function whose gradient can be taken. "
                "Received: one with none (the black-box attacks need none)"
            )
        return values, logits, gradients

    values, logits, gradients = _apart(compute)(points)
    return (values, logits), finite(gradients)


def gives_gradient(logits_fn: LogitsFn, images: Tensor) -> bool:
    """Returns whether a gradient of logits with respect to `images` can be taken.

    Args:
        logits_fn: Images `[batch, ...]` to logits `[batch, classes]`.
        images: `[batch, ...]`.

    Raises:
        tf.errors.UnimplementedError: If there is one, but not on this device.
        tf.errors.ResourceExhaustedError: If it does not fit into the memory.
    """
    try:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(images)
            logits = logits_fn(images)
        return tape.gradient(logits, images) is not None
    except (tf.errors.UnimplementedError, tf.errors.ResourceExhaustedError):
        raise
    # No gradient is registered for an operation, or the exported graph kept none.
    except (LookupError, ValueError, tf.errors.OpError):
        return False


def finite(gradients: Tensor) -> Tensor:
    """Returns `gradients` with 0 for NaN and the largest number for infinity.

    A pixel whose slope is unknown stays where it is. Were it to become NaN, so would
    the logits, and the point would pass for an error.
    """
    is_known = tf.cast(gradients == gradients, gradients.dtype)
    known = tf.math.multiply_no_nan(gradients, is_known)
    return tf.clip_by_value(known, known.dtype.min, known.dtype.max)


def _powers_of_two_below(slopes: Tensor) -> Tensor:
    """Returns, for each example, the power of two up to its largest slope, `[batch]`.

    To divide by it, and to multiply, rounds nothing. It is 1 where there is no slope,
    or one that is no number.

    Args:
        slopes: `[batch, classes]`.
    """
    largest = tf.cast(tf.reduce_max(tf.abs(slopes), axis=1, keepdims=True), tf.float32)
    # The exponent alone, without the digits, is such a power.
    exponent = tf.bitcast(largest, tf.int32) & _EXPONENT
    powers = tf.bitcast(exponent, tf.float32)
    is_power = (exponent > 0) & (exponent < _EXPONENT)
    return tf.cast(tf.where(is_power, powers, tf.ones_like(powers)), slopes.dtype)


def _apart(compute: Callable[..., Any]) -> Callable[..., Any]:
    """Returns the same function, on a CPU as a graph that no loop is a part of.

    TensorFlow has oneDNN compute the gradient of a pooling only if it comes upon the
    pooling itself before. In a loop's graph, which goes in a circle, it does or does
    not by chance, from one process to the next; if not, a step takes up to twice as
    long in bfloat16.
    """
    if tf.executing_eagerly() or has_gpu():
        return compute
    attributes = {"_noinline": True}
    return tf.function(compute, autograph=False, experimental_attributes=attributes)
