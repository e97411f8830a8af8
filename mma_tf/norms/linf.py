"""The geometry of the largest change of any pixel."""

import tensorflow as tf

from mma_tf.box import clip_to_box
from mma_tf.noise import uniform_like
from mma_tf.norms.hyperplane import room_in_box, saturating_root
from mma_tf.per_example import over_pixels, pixel_axes
from mma_tf.types import Seed, Tensor


class LInf:
    """The l-infinity norm; see `mma_tf.norms.base.Norm` for the contract."""

    def size(self, deltas: Tensor) -> Tensor:
        return tf.reduce_max(tf.abs(deltas), axis=pixel_axes(deltas))

    def ascent_direction(self, gradients: Tensor) -> Tensor:
        return tf.sign(gradients)

    def project(self, points: Tensor, images: Tensor, eps: Tensor) -> Tensor:
        radii = over_pixels(eps, images)
        return clip_to_box(images + tf.clip_by_value(points - images, -radii, radii))

    def random_start(self, images: Tensor, eps: Tensor, seed: Seed) -> Tensor:
        return self.start_at(uniform_like(images, seed), images, eps)

    def start_at(self, noise: Tensor, images: Tensor, eps: Tensor) -> Tensor:
        return clip_to_box(images + over_pixels(eps, images) * (2.0 * noise - 1.0))

    def direction_of(self, noise: Tensor) -> Tensor:
        deltas = 2.0 * noise - 1.0
        return tf.math.divide_no_nan(deltas, over_pixels(self.size(deltas), deltas))

    def to_hyperplane(self, points: Tensor, normals: Tensor, gaps: Tensor) -> Tensor:
        # Every pixel moves equally far, but for those that meet the box: Croce & Hein,
        # ICML 2020 (arXiv 1907.02044), section 2.
        signs = tf.sign(normals) * over_pixels(tf.sign(gaps), normals)
        rooms = room_in_box(points, signs)
        gains = tf.abs(normals)
        length = saturating_root(gains, gains * rooms, tf.abs(gaps))
        return signs * tf.minimum(over_pixels(length, normals), rooms)

    def diameter(self, num_pixels: int) -> float:
        return 1.0
