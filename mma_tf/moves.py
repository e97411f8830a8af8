"""Images moved and mirrored, and moved back."""

import tensorflow as tf

from mma_tf.types import Tensor


def move(images: Tensor, moves: Tensor) -> Tensor:
    """Returns each image moved by its own number of pixels, zeros coming in.

    Args:
        images: `[batch, height, width, channels]` with a static height and width; any
            dtype.
        moves: `[batch, 3]` int32: by how many pixels up and to the left each is moved,
            below 0 down and to the right, and 1 if it is mirrored left to right then,
            else 0.

    Returns:
        A batch of the same shape and dtype.
    """
    up, left, mirrored = _parts(moves)
    _, height, width, _ = images.shape
    columns = _mirror(tf.range(width), mirrored, width)
    return _pixels(images, tf.range(height) + up, columns + left)


def move_back(images: Tensor, moves: Tensor) -> Tensor:
    """Returns the batch that `move` moved, zeros where it had left the image.

    Args:
        images: See `move`.
        moves: What they were moved by.
    """
    up, left, mirrored = _parts(moves)
    _, height, width, _ = images.shape
    columns = _mirror(tf.range(width) - left, mirrored, width)
    return _pixels(images, tf.range(height) - up, columns)


def _parts(moves: Tensor) -> list[Tensor]:
    return tf.split(moves, 3, axis=1)


def _mirror(columns: Tensor, mirrored: Tensor, width: int) -> Tensor:
    return tf.where(mirrored == 1, width - 1 - columns, columns)


def _pixels(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Returns the pixels at `rows` `[batch, height]` and `columns` `[batch, width]`."""
    _, height, width, channels = images.shape
    is_row = (rows >= 0) & (rows < height)
    is_column = (columns >= 0) & (columns < width)
    inside = is_row[:, :, tf.newaxis] & is_column[:, tf.newaxis, :]
    # One gather of pixels is over twice as fast as one of rows and one of columns.
    row = rows + height * tf.range(tf.shape(images)[0])[:, tf.newaxis]
    pixel = row[:, :, tf.newaxis] * width + columns[:, tf.newaxis, :]
    flat = tf.reshape(images, [-1, channels])
    pixels = tf.gather(flat, tf.where(inside, pixel, 0))
    return tf.where(inside[..., tf.newaxis], pixels, tf.zeros([], images.dtype))
