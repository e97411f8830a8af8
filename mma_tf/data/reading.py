"""Reading a `tf.data.Dataset` of single images into arrays, quickly and with checks."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from mma_tf.errors import UserError
from mma_tf.types import Tensor

_BATCH = 512


class ReadError(Exception):
    """An example that TensorFlow could not read or decode.

    Attributes:
        num_read: How many examples before it were read: it is one of the next ones.
        batch: It is among this many.
    """

    def __init__(self, num_read: int, batch: int = _BATCH):
        super().__init__(f"none of {batch} examples after {num_read}")
        self.num_read = num_read
        self.batch = batch


def image_spec(elements: tf.data.Dataset) -> tuple[tuple[int, ...], np.dtype]:
    """Returns shape and dtype of the images, read off the first if need be.

    Args:
        elements: Not empty; its elements are (image `[height, width, channels]`, ...).

    Raises:
        ReadError: If the first image has to be read and cannot be.
    """
    spec = elements.element_spec[0]
    if spec.shape.is_fully_defined():
        return tuple(spec.shape), spec.dtype.as_numpy_dtype
    try:
        image = next(elements.take(1).as_numpy_iterator())[0]
    except tf.errors.OpError as error:
        raise ReadError(0, 1) from error
    return image.shape, image.dtype


def stored_dtype(dtype: np.dtype) -> np.dtype:
    """Returns the dtype in which images of `dtype` are kept: uint8 or float32."""
    return np.dtype(np.uint8 if dtype == np.uint8 else np.float32)


def read(
    elements: tf.data.Dataset,
    *,
    count: int,
    describe: Callable[[Any], str],
    positions: Callable[[np.ndarray], np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns images and labels as arrays.

    Args:
        elements: (image `[height, width, channels]`, label, key) with a scalar key.
        count: How many there are, at least one.
        describe: Names an example by its key in messages.
        positions: Says for the keys of a batch where its examples go; where the
            keys are in `elements` if None.

    Returns:
        Images `[count, height, width, channels]`: uint8 as they are, float32 as they
        are and other integers as float32 in [0, 1]; labels int32 `[count]`.

    Raises:
        UserError: If the images have several sizes, or are not `count`.
        ReadError: If one cannot be read.
    """
    shape, dtype = image_spec(elements)
    images = np.empty((count, *shape), stored_dtype(dtype))
    labels = np.empty(count, np.int32)
    batches = elements.map(
        _fit_to(shape), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    first_key = None
    num_read = 0
    batches = batches.batch(_BATCH).prefetch(2).as_numpy_iterator()
    while True:
        try:
            batch = next(batches, None)
        except tf.errors.OpError as error:
            raise ReadError(num_read) from error
        if batch is None:
            break
        batch_images, batch_labels, keys, shapes = batch
        first_key = keys[0] if first_key is None else first_key
        odd = (shapes != shape).any(axis=-1)
        if odd.any():
            at = int(odd.argmax())
            raise UserError(
                f"Invalid `--dataset`: expected images of one size. Received: "
                f"{_size(shape)} for {describe(first_key)} and {_size(shapes[at])} for "
                f"{describe(keys[at])} (resize them to one size first)"
            )
        stop = num_read + len(keys)
        if stop > count:
            break
        place = slice(num_read, stop) if positions is None else positions(keys)
        images[place] = _to_stored(batch_images)
        labels[place] = batch_labels
        num_read = stop
    if num_read != count:
        raise ReadError(num_read)
    return images, labels


def _fit_to(shape: tuple[int, ...]) -> Callable[..., tuple[Tensor, ...]]:
    def fit(image: Tensor, label: Tensor, key: Tensor) -> tuple[Tensor, ...]:
        found = tf.shape(image)
        if not image.shape.is_fully_defined():
            # An image of another size cannot be batched: a black one takes its place
            # until its size has been told.
            image = tf.cond(
                tf.reduce_all(found == tf.constant(shape)),
                lambda: image,
                lambda: tf.zeros(shape, image.dtype),
            )
        return tf.ensure_shape(image, shape), label, key, found

    return fit


def _to_stored(images: np.ndarray) -> np.ndarray:
    if np.issubdtype(images.dtype, np.floating) or images.dtype == np.uint8:
        return images
    return images.astype(np.float32) / np.float32(np.iinfo(images.dtype).max)


def _size(shape: Any) -> str:
    return "x".join(str(length) for length in shape)
