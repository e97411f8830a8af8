"""The geometry of the largest change of any pixel."""

import tensorflow as tf

from mma_tf.box import clip_to_box
from mma_tf.noise import uniform_like
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
        noise = 2.0 * uniform_like(images, seed) - 1.0
        return clip_to_box(images + over_pixels(eps, images) * noise)

    def diameter(self, num_pixels: int) -> float:
        return 1.0
