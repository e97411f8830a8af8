"""The geometry of the Euclidean length of the change."""

import math

import tensorflow as tf

from mma_tf.box import clip_to_box
from mma_tf.noise import uniform_like
from mma_tf.norms.hyperplane import room_in_box, saturating_root
from mma_tf.per_example import over_pixels, pixel_axes
from mma_tf.types import Seed, Tensor

# A uniform number can be 0, whose normal quantile is infinite.
_SMALLEST_QUANTILE = 1e-6


class L2:
    """The l2 norm; see `mma_tf.norms.base.Norm` for the contract."""

    def size(self, deltas: Tensor) -> Tensor:
        # Scaled by the largest entry: squares of float32 gradients as they occur under
        # a confident classifier (below 1e-19) would all vanish.
        largest = tf.reduce_max(tf.abs(deltas), axis=pixel_axes(deltas))
        scaled = tf.math.divide_no_nan(deltas, over_pixels(largest, deltas))
        return largest * _length(scaled)

    def ascent_direction(self, gradients: Tensor) -> Tensor:
        largest = tf.reduce_max(
            tf.abs(gradients), axis=pixel_axes(gradients), keepdims=True
        )
        scaled = tf.math.divide_no_nan(gradients, largest)
        return tf.math.divide_no_nan(scaled, over_pixels(_length(scaled), scaled))

    def project(self, points: Tensor, images: Tensor, eps: Tensor) -> Tensor:
        deltas = clip_to_box(points) - images
        # The shrunk point is between two points of the box; clipped all the same, for
        # rounding can leave the box by one unit in the last place.
        return clip_to_box(images + self._shrink(deltas, eps))

    def random_start(self, images: Tensor, eps: Tensor, seed: Seed) -> Tensor:
        return self.start_at(uniform_like(images, seed), images, eps)

    def start_at(self, noise: Tensor, images: Tensor, eps: Tensor) -> Tensor:
        return self.project(noise, images, eps)

    def direction_of(self, noise: Tensor) -> Tensor:
        # Normal numbers have no preferred direction.
        inside = tf.clip_by_value(noise, _SMALLEST_QUANTILE, 1 - _SMALLEST_QUANTILE)
        return self.ascent_direction(tf.math.ndtri(inside))

    def to_hyperplane(self, points: Tensor, normals: Tensor, gaps: Tensor) -> Tensor:
        # Every pixel moves in proportion to its part of the normal, but for those that
        # meet the box: Croce & Hein, ICML 2020 (arXiv 1907.02044), section 2.
        signs = tf.sign(normals) * over_pixels(tf.sign(gaps), normals)
        rooms = room_in_box(points, signs)
        # Scaled for the squares' sake, as in `size`.
        largest = tf.reduce_max(tf.abs(normals), axis=pixel_axes(normals))
        gains = tf.math.divide_no_nan(tf.abs(normals), over_pixels(largest, normals))
        needed = tf.math.divide_no_nan(tf.abs(gaps), largest)
        length = saturating_root(tf.square(gains), gains * rooms, needed)
        return signs * tf.minimum(over_pixels(length, normals) * gains, rooms)

    def diameter(self, num_pixels: int) -> float:
        return math.sqrt(num_pixels)

    def _shrink(self, deltas: Tensor, eps: Tensor) -> Tensor:
        # One whose squares vanish is in any ball, and stays as it is.
        sizes = _length(deltas)
        factors = tf.where(sizes > eps, tf.math.divide_no_nan(eps, sizes), 1.0)
        return deltas * over_pixels(factors, deltas)


def _length(deltas: Tensor) -> Tensor:
    return tf.sqrt(tf.reduce_sum(tf.square(deltas), axis=pixel_axes(deltas)))
