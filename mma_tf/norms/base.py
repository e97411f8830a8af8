"""What an attack needs to know of a norm."""

from typing import Protocol

from mma_tf.types import Seed, Tensor


class Norm(Protocol):
    """The geometry of a norm, taken per example over all pixels and channels."""

    def size(self, deltas: Tensor) -> Tensor:
        """Returns the norm of each example of `deltas` `[batch, ...]`: `[batch]`."""

    def ascent_direction(self, gradients: Tensor) -> Tensor:
        """Returns the steps of unit size along which a linear loss rises most.

        Args:
            gradients: `[batch, ...]` of that loss; where all are zero so is the step.
        """

    def project(self, points: Tensor, images: Tensor, eps: Tensor) -> Tensor:
        """Returns `points` brought into the box and into the `eps`-balls of `images`.

        Args:
            points: `[batch, ...]`, anywhere.
            images: `[batch, ...]` in [0, 1], the balls' centres.
            eps: `[batch]` >= 0, the balls' radii.
        """

    def start_at(self, noise: Tensor, images: Tensor, eps: Tensor) -> Tensor:
        """Returns the point of the `eps`-ball and of the box that `noise` means.

        Args:
            noise: `[batch, ...]`, uniform in [0, 1).
            images: `[batch, ...]` in [0, 1], the balls' centres.
            eps: `[batch]` >= 0, the balls' radii.
        """

    def direction_of(self, noise: Tensor) -> Tensor:
        """Returns directions of unit size, `[batch, ...]`, without a preferred one.

        Args:
            noise: `[batch, ...]`, uniform in [0, 1).
        """

    def to_hyperplane(self, points: Tensor, normals: Tensor, gaps: Tensor) -> Tensor:
        """Returns the shortest step in the box onto a hyperplane, `[batch, ...]`.

        Args:
            points: `[batch, ...]` in [0, 1].
            normals: `[batch, ...]`, of the hyperplanes.
            gaps: `[batch]`, how much normals * points has to change. Where no point of
                the box is on the hyperplane, the step ends at the one nearest to it.
        """

    def random_start(self, images: Tensor, eps: Tensor, seed: Seed) -> Tensor:
        """Returns a random point of each `eps`-ball and of the box, `[batch, ...]`."""

    def diameter(self, num_pixels: int) -> float:
        """Returns the largest distance of two images of so many pixels (x channels)."""
