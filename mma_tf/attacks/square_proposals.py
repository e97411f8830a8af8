"""What the Square attack tries next, in each norm."""

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import tensorflow as tf

from mma_tf.box import clip_to_box
from mma_tf.per_example import over_pixels
from mma_tf.types import Tensor

# The pattern of l2 needs a centre and two halves.
_SMALLEST_PATTERN = 3
# So many tiles fill the first pattern of l2, along each axis.
_FIRST_TILES = 5
_SMALLEST_SQUARE = 1e-12


class Proposals(Protocol):
    """Points of the ball that differ from the best one in a window."""

    def first(self, noise: Tensor, images: Tensor, eps: Tensor) -> Tensor:
        """Returns where the search starts, `[batch, height, width, channels]`.

        Args:
            noise: In the shape of `images`, uniform in [0, 1).
            images: `[batch, height, width, channels]` in [0, 1].
            eps: `[batch]` radii of the balls.
        """

    def sides(self, shares: Sequence[float], height: int, width: int) -> list[int]:
        """Returns the side of the window for each query, from the share of pixels."""

    def next(
        self,
        points: Tensor,
        images: Tensor,
        eps: Tensor,
        *,
        sides: Sequence[int],
        query: Tensor,
        positions: Tensor,
        signs: Tensor,
    ) -> Tensor:
        """Returns the next proposal, `[batch, height, width, channels]`.

        Args:
            points: The best one so far, `[batch, height, width, channels]`.
            images: `[batch, height, width, channels]` in [0, 1].
            eps: `[batch]` radii of the balls.
            sides: Of the window for each query.
            query: `[batch]` the number of the query.
            positions: `[batch, 5]` uniform in [0, 1).
            signs: `[batch, channels]`, -1 or 1.
        """


def get_proposals(norm: str) -> Proposals:
    """Returns the proposals for the norm of that name, "linf" or "l2".

    Raises:
        ValueError: If there are none for it.
    """
    known: dict[str, Proposals] = {"linf": LInfProposals(), "l2": L2Proposals()}
    if norm not in known:
        allowed = " or ".join(repr(name) for name in known)
        raise ValueError(f"Invalid `norm`: expected {allowed}. Received: norm={norm!r}")
    return known[norm]


class LInfProposals:
    """Windows of one colour at the ball's edge; see `Proposals`."""

    def first(self, noise: Tensor, images: Tensor, eps: Tensor) -> Tensor:
        # Vertical stripes: a sign for each column and channel.
        signs = tf.where(noise[:, :1] < 0.5, -1.0, 1.0)
        signs = tf.cast(signs, images.dtype)
        return clip_to_box(images + over_pixels(eps, images) * signs)

    def sides(self, shares: Sequence[float], height: int, width: int) -> list[int]:
        wanted = (round(math.sqrt(share * height * width)) for share in shares)
        return [min(max(side, 1), height, width) for side in wanted]

    def next(
        self,
        points: Tensor,
        images: Tensor,
        eps: Tensor,
        *,
        sides: Sequence[int],
        query: Tensor,
        positions: Tensor,
        signs: Tensor,
    ) -> Tensor:
        side = tf.gather(tf.constant(sides), query)
        rows = _offsets(positions[:, 0], side, images.shape[1])
        columns = _offsets(positions[:, 1], side, images.shape[2])
        window = _inside(rows, columns, side, images.dtype)
        change = over_pixels(eps, images) * tf.cast(
            signs[:, tf.newaxis, tf.newaxis, :], images.dtype
        )
        # Whatever the pixel was, it is at the ball's edge afterwards.
        differs = window * tf.abs(points - clip_to_box(images + change))
        # A window that has the colour already gets the opposite one, or the query would
        # be wasted: half of them are where one pixel of one channel is left to change.
        is_new = tf.reduce_max(differs, axis=[1, 2, 3], keepdims=True) > 0
        colour = clip_to_box(images + tf.where(is_new, change, -change))
        return window * colour + (1 - window) * points


class L2Proposals:
    """Windows of a smooth pattern that take the length of another; see `Proposals`."""

    def first(self, noise: Tensor, images: Tensor, eps: Tensor) -> Tensor:
        height, width = images.shape[1:3]
        side = max(min(height, width) // _FIRST_TILES, 1)
        down, across = height // side, width // side
        tiled = np.tile(_pattern(side), (down, across))
        top, left = (height - down * side) // 2, (width - across * side) // 2
        below, right = height - top - down * side, width - left - across * side
        pattern = np.pad(tiled, ((top, below), (left, right)))
        # One sign for each tile and channel: that of the tile's first pixel.
        rows = top + (np.arange(height) - top) // side * side
        rows = np.clip(rows, 0, height - 1)
        columns = left + (np.arange(width) - left) // side * side
        columns = np.clip(columns, 0, width - 1)
        noise = tf.gather(tf.gather(noise, rows, axis=1), columns, axis=2)
        deltas = tf.sign(noise - 0.5) * tf.cast(pattern, images.dtype)[..., tf.newaxis]
        return _at_length(deltas, images, eps)

    def sides(self, shares: Sequence[float], height: int, width: int) -> list[int]:
        largest = min(height, width)
        # Odd, for the centre's sake.
        largest -= 1 - largest % 2
        wanted = (round(math.sqrt(share * height * width)) for share in shares)
        wanted = (max(side, _SMALLEST_PATTERN) for side in wanted)
        return [min(side + 1 - side % 2, max(largest, 1)) for side in wanted]

    def next(
        self,
        points: Tensor,
        images: Tensor,
        eps: Tensor,
        *,
        sides: Sequence[int],
        query: Tensor,
        positions: Tensor,
        signs: Tensor,
    ) -> Tensor:
        side = tf.gather(tf.constant(sides), query)
        height, width, channels = images.shape[1:]
        deltas = points - images
        rows = _offsets(positions[:, 0], side, height)
        columns = _offsets(positions[:, 1], side, width)
        window = _inside(rows, columns, side, images.dtype)
        other = _inside(
            _offsets(positions[:, 2], side, height),
            _offsets(positions[:, 3], side, width),
            side,
            images.dtype,
        )
        either = tf.maximum(window, other)

        pattern = _patterns_at(sides, query, rows, columns, positions[:, 4] < 0.5)
        pattern = tf.cast(pattern[..., tf.newaxis], images.dtype)
        squares = tf.square(deltas)
        # Each channel of the window gets its own length, that of the other window,
        # which is emptied, and an equal part of what the box had cut off.
        old_length = tf.sqrt(_total(squares, within=window))
        whole = tf.reduce_sum(squares, axis=[1, 2, 3], keepdims=True)
        unused = tf.maximum(over_pixels(eps, images) ** 2 - whole, 0) / channels
        length = tf.sqrt(unused + _total(squares, within=either))
        added = pattern * tf.cast(signs[:, tf.newaxis, tf.newaxis, :], images.dtype)
        added += deltas / (old_length + _SMALLEST_SQUARE)
        added_length = tf.sqrt(_total(tf.square(added), within=window))
        added *= length / (added_length + _SMALLEST_SQUARE)
        return _at_length(window * added + (1 - either) * deltas, images, eps)


def _at_length(deltas: Tensor, images: Tensor, eps: Tensor) -> Tensor:
    sizes = tf.sqrt(tf.reduce_sum(tf.square(deltas), axis=[1, 2, 3], keepdims=True))
    factors = tf.math.divide_no_nan(over_pixels(eps, images), sizes)
    return clip_to_box(images + deltas * factors)


def _total(values: Tensor, *, within: Tensor) -> Tensor:
    """Returns the sum over a window in each channel, `[batch, 1, 1, channels]`.

    Args:
        values: `[batch, height, width, channels]`.
        within: `[batch, height, width, 1]`, 1 within the window and 0 elsewhere.
    """
    return tf.reduce_sum(within * values, axis=[1, 2], keepdims=True)


def _offsets(position: Tensor, side: Tensor, extent: int) -> Tensor:
    """Returns how far each row (or column) is behind the window's first."""
    places = tf.cast(extent - side + 1, position.dtype)
    first = tf.cast(position * places, tf.int32)
    return tf.range(extent)[tf.newaxis, :] - first[:, tf.newaxis]


def _inside(rows: Tensor, columns: Tensor, side: Tensor, dtype: tf.DType) -> Tensor:
    """Returns 1 for the pixels in the window and 0 elsewhere.

    As numbers, `[batch, height, width, 1]`: products are several times as fast as
    choices, and as exact where all is finite.
    """
    side = side[:, tf.newaxis]
    in_rows = (rows >= 0) & (rows < side)
    in_columns = (columns >= 0) & (columns < side)
    down = tf.cast(in_rows, dtype)[:, :, tf.newaxis, tf.newaxis]
    return down * tf.cast(in_columns, dtype)[:, tf.newaxis, :, tf.newaxis]


def _patterns_at(
    sides: Sequence[int], query: Tensor, rows: Tensor, columns: Tensor, turned: Tensor
) -> Tensor:
    """Returns the pattern laid at the window's place, `[batch, height, width]`."""
    distinct = sorted(set(sides))
    largest = distinct[-1]
    # By pattern, whether it is turned, column and row.
    table = np.zeros((len(distinct), 2, largest, largest), np.float32)
    for number, side in enumerate(distinct):
        table[number, 0, :side, :side] = _pattern(side).T
        table[number, 1, :side, :side] = _pattern(side)
    which = tf.gather(tf.constant([distinct.index(side) for side in sides]), query)
    which = 2 * which + tf.cast(turned, tf.int32)
    across = tf.clip_by_value(columns, 0, largest - 1)
    down = tf.clip_by_value(rows, 0, largest - 1)
    # Columns first, then rows, each as a whole: number by number takes thrice as long.
    across += which[:, tf.newaxis] * largest
    picked = tf.gather(table.reshape(-1, largest), across)
    picked = tf.transpose(picked, [0, 2, 1])
    return tf.gather(picked, down, batch_dims=1)


def _pattern(side: int) -> np.ndarray:
    """Returns two bumps of opposite sign, one above the other, of length 1."""
    half = side // 2
    pattern = np.concatenate([_bump(half, side), -_bump(side - half, side)])
    return pattern / float(np.linalg.norm(pattern))


def _bump(height: int, width: int) -> np.ndarray:
    """Returns sums of nested rectangles around the centre, the small ones heavier."""
    bump = np.zeros((height, width))
    row, column = height // 2, width // 2
    for number in range(max(height // 2, width // 2) + 1):
        rows = slice(max(row - number, 0), row + number + 1)
        columns = slice(max(column - number, 0), column + number + 1)
        bump[rows, columns] += 1 / (number + 1) ** 2
    return bump / (float(np.linalg.norm(bump)) + _SMALLEST_SQUARE)
