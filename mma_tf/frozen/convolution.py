"""A convolution with a faster gradient with respect to images of few channels."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from mma_tf.types import Tensor

# So many channels fill a vector register; a gradient of fewer wastes the rest of it.
_VECTOR = 16
# Blocks of other sizes were no faster for any of the networks here.
_BLOCK_SIDES = (4, 2)


class _Axis(NamedTuple):
    """How blocks of neighbouring inputs depend on the outputs, along an axis.

    Attributes:
        taps: `[reach, side]` place in the kernel that joins an output, counted from the
            first that the block depends on, and an input of the block; the kernel's
            extent where none does.
        first: Place of that first output relative to the block's own.
    """

    taps: np.ndarray
    first: int


def convolution(
    kernel: Tensor, *, stride: int, padding: str, in_blocks: bool = True
) -> Callable[[Tensor], Tensor]:
    """Returns `tf.nn.conv2d` with a fixed kernel, in values as in gradients.

    The gradient of an input of one to four channels is a convolution with as few
    outputs, which leaves most of a processor's vector registers empty. Here it gives
    all pixels of a block at once, as channels (space to depth), at the price of taps
    that are zero: two to three times as fast on a CPU. The kernel gets no gradient.

    Args:
        kernel: `[height, width, channels, filters]` of known shape.
        stride: Along both axes.
        padding: "same" or "valid".
        in_blocks: Whether the gradient is computed so, where that pays on a CPU.

    Returns:
        Inputs `[batch, height, width, channels]` to `[batch, rows, columns, filters]`.
    """
    kernel = tf.stop_gradient(kernel)
    gradient_of = None
    if in_blocks:
        gradient_of = gradient_in_blocks(kernel, stride=stride, padding=padding)
    if gradient_of is None:
        return lambda inputs: tf.nn.conv2d(inputs, kernel, stride, padding.upper())

    @tf.custom_gradient
    def convolve(inputs: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        outputs = tf.nn.conv2d(inputs, kernel, stride, padding.upper())
        extents = tuple(inputs.shape[1:3])
        return outputs, lambda upstream: gradient_of(upstream, extents)

    def apply(inputs: Tensor) -> Tensor:
        if None in inputs.shape[1:3]:
            return tf.nn.conv2d(inputs, kernel, stride, padding.upper())
        return convolve(inputs)

    return apply


def gradient_in_blocks(
    kernel: Tensor, *, stride: int, padding: str
) -> Callable[[Tensor, tuple[int, int]], Tensor] | None:
    """Returns the gradient of a convolution's inputs, found in blocks of these.

    Args:
        kernel: As `convolution` takes it.
        stride: Along both axes.
        padding: "same" or "valid".

    Returns:
        None where it does not pay; else a function of the gradient of the outputs
        `[batch, rows, columns, filters]` and the inputs' (height, width).
    """
    side = block_side(kernel.shape[2], stride)
    if side is None:
        return None
    # By the padding before the first row and column, which depends on the input's
    # extent; made where the kernel is, outside of an attack's loop.
    blocks = {
        before: _block_kernel(kernel, stride=stride, before=before, side=side)
        for before in _possible_paddings(kernel.shape[:2], stride, padding)
    }

    def gradient_of(upstream: Tensor, extents: tuple[int, int]) -> Tensor:
        above, left = (
            _padding_before(extent, taps, stride, padding)
            for extent, taps in zip(extents, kernel.shape[:2], strict=True)
        )
        return _input_gradient(
            upstream,
            blocks[above, left],
            extents=extents,
            taps=kernel.shape[:2],
            channels=kernel.shape[2],
            stride=stride,
            before=(above, left),
            side=side,
        )

    return gradient_of


def block_side(channels: int, stride: int) -> int | None:
    """Returns the side of the blocks that the gradient is computed in, if any."""
    for side in _BLOCK_SIDES:
        if side**2 * channels <= _VECTOR and side % stride == 0:
            return side
    return None


def _possible_paddings(
    taps: tuple[int, int], stride: int, padding: str
) -> list[tuple[int, int]]:
    """Returns (above, left) for all extents there may be."""
    along = [
        sorted(
            {
                _padding_before(extent, length, stride, padding)
                for extent in range(length, length + stride)
            }
        )
        for length in taps
    ]
    return [(above, left) for above in along[0] for left in along[1]]


def _padding_before(extent: int, taps: int, stride: int, padding: str) -> int:
    if padding == "valid":
        return 0
    outputs = math.ceil(extent / stride)
    return max((outputs - 1) * stride + taps - extent, 0) // 2


def _axis(taps: int, stride: int, before: int, side: int) -> _Axis:
    # An input at `place` and the output at `at` are joined by the tap
    # place + before - stride * at, where the kernel has such a tap.
    first = -((taps - 1 - before) // stride)
    last = (side - 1 + before) // stride
    at = np.arange(first, last + 1)[:, np.newaxis]
    tap = np.arange(side)[np.newaxis, :] + before - stride * at
    return _Axis(np.where((tap >= 0) & (tap < taps), tap, taps), first)


def _block_kernel(
    kernel: Tensor, *, stride: int, before: tuple[int, int], side: int
) -> Tensor:
    """Returns the kernel `[reach, reach, filters, side * side * channels]`."""
    height, width, channels, filters = kernel.shape
    down = _axis(height, stride, before[0], side).taps
    across = _axis(width, stride, before[1], side).taps
    # The row and column behind the last are zero: for inputs that a tap misses.
    padded = tf.pad(kernel, [[0, 1], [0, 1], [0, 0], [0, 0]])
    joined = tf.gather(padded, down.reshape(-1), axis=0)
    joined = tf.gather(joined, across.reshape(-1), axis=1)
    shape = [len(down), side, len(across), side, channels, filters]
    joined = tf.transpose(tf.reshape(joined, shape), [0, 2, 5, 1, 3, 4])
    return tf.reshape(joined, [len(down), len(across), filters, -1])


def _input_gradient(
    upstream: Tensor,
    kernel: Tensor,
    *,
    extents: tuple[int, int],
    taps: tuple[int, int],
    channels: int,
    stride: int,
    before: tuple[int, int],
    side: int,
) -> Tensor:
    steps = side // stride
    paddings = [[0, 0]]
    for axis in range(2):
        first = _axis(taps[axis], stride, before[axis], side).first
        blocks = math.ceil(extents[axis] / side)
        needed = (blocks - 1) * steps + kernel.shape[axis] + first
        paddings.append([-first, needed - upstream.shape[1 + axis]])
    paddings.append([0, 0])
    by_block = tf.nn.conv2d(upstream, kernel, steps, paddings)
    down, across = (math.ceil(extent / side) for extent in extents)
    # As tf.nn.depth_to_space does, in a fifth of its time.
    rows = tf.reshape(by_block, [-1, across, side, side * channels])
    rows = tf.transpose(rows, [0, 2, 1, 3])
    gradients = tf.reshape(rows, [-1, down * side, across * side, channels])
    return gradients[:, : extents[0], : extents[1]]
