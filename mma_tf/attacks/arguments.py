"""What every attack checks of its arguments."""

import numbers

import numpy as np
import tensorflow as tf

from mma_tf.inputs import check_pixels, flat_labels
from mma_tf.norms.base import Norm
from mma_tf.per_example import to_batch
from mma_tf.types import LogitsFn, PerExample, Tensor, TensorLike


def frozen(logits_fn: LogitsFn) -> LogitsFn:
    """Returns `logits_fn` at the weights of now, for many calls until they change.

    A Keras classifier that is bound by `mma_tf.models.inference_logits_fn` is faster
    then; any other function is returned as it is.
    """
    freeze = getattr(logits_fn, "freeze", None)
    return freeze() if freeze is not None else logits_fn


def as_images(images: TensorLike) -> Tensor:
    """Returns `images` as a floating tensor `[batch, ...]`, its dtype kept.

    Raises:
        ValueError: If pixels are not in [0, 1]. A graph does not look: there they have
            no value yet.
        TypeError: If the pixels are not floating point numbers.
    """
    images = tf.convert_to_tensor(images)
    if not images.dtype.is_floating:
        raise TypeError(
            "Invalid `images`: expected floating point pixels in [0, 1]. "
            f"Received: dtype={images.dtype.name} (divide bytes by 255)"
        )
    if tf.executing_eagerly() and images.shape.num_elements():
        low, high = float(tf.reduce_min(images)), float(tf.reduce_max(images))
        check_pixels(low, high)
    return images


def as_labels(labels: TensorLike) -> Tensor:
    """Returns class numbers `[batch]` int32, `[batch, 1]` being taken for that.

    Raises:
        ValueError: If the shape is another one.
        TypeError: If they are not whole numbers.
    """
    labels = tf.convert_to_tensor(labels)
    if not labels.dtype.is_integer:
        raise TypeError(
            "Invalid `labels`: expected whole numbers. Received: "
            f"dtype={labels.dtype.name}"
        )
    return tf.cast(flat_labels(labels), tf.int32)


def as_radii(name: str, values: PerExample, images: Tensor, *, norm: Norm) -> Tensor:
    """Returns lengths as `[batch]` in the dtype of `images`.

    Values are checked where they are known before the graph runs: Python numbers and
    numpy arrays.

    Args:
        name: The argument's name, for the message.
        values: A scalar or `[batch]`, >= 0, in pixel units.
        images: `[batch, ...]`.
        norm: Bounds the values: no two images are farther apart than its diameter.

    Raises:
        ValueError: If a value is negative, not finite or beyond the box, or the shape
            is neither scalar nor `[batch]`.
    """
    if isinstance(values, numbers.Real | np.ndarray | np.generic):
        array = np.asarray(values, np.float64)
        num_pixels = images.shape[1:].num_elements()
        highest = norm.diameter(num_pixels) if num_pixels else np.inf
        fits = (array >= 0) & (array <= highest * (1 + 1e-6))
        if not np.all(fits):
            worst = array[~fits][0]
            hint = f" (did you mean {worst:g}/255?)" if worst > highest else ""
            raise ValueError(
                f"Invalid `{name}`: expected lengths from 0 to {highest:g}, images "
                f"being in [0, 1]. Received: {name}={worst:g}{hint}"
            )
    return to_batch(values, images)


def check_step_size(name: str, values: PerExample) -> None:
    """Raises ValueError if a length or factor of steps is not finite or below 0.

    One that the graph computes is not looked at: it has no value yet.
    """
    if tf.is_tensor(values):
        return
    array = np.asarray(values, np.float64)
    if not np.all(np.isfinite(array) & (array >= 0)):
        raise ValueError(
            f"Invalid `{name}`: expected finite numbers >= 0, since a step back is no "
            f"attack. Received: {name}={values}"
        )


def check_num_steps(name: str, value: int | Tensor) -> None:
    """Raises ValueError if a number of steps is not a whole number >= 0.

    One that the graph computes is not looked at: it has no value yet.
    """
    if tf.is_tensor(value):
        return
    if not isinstance(value, numbers.Integral) or value < 0:
        raise ValueError(
            f"Invalid `{name}`: expected a whole number >= 0. Received: {name}={value}"
        )
