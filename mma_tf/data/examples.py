"""Labelled images in memory, checked once so that nothing after has to."""

from dataclasses import dataclass

import numpy as np

from mma_tf.errors import UserError


@dataclass(frozen=True, eq=False)
class Examples:
    """Labelled images in a fixed order: an example's position is its identity.

    Attributes:
        images: `[n, height, width, channels]`, uint8 in 0..255 or float32 in [0, 1].
        labels: int32 `[n]`.

    Raises:
        UserError: If shapes, dtypes or the range of float images are others.
    """

    images: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        if self.images.dtype not in (np.uint8, np.float32) or self.images.ndim != 4:
            raise UserError(
                "Invalid `images`: expected uint8 or float32 of shape [n, height, "
                f"width, channels]. Received: dtype={self.images.dtype}, "
                f"shape={list(self.images.shape)}"
            )
        if self.labels.dtype != np.int32 or self.labels.shape != self.images.shape[:1]:
            raise UserError(
                f"Invalid `labels`: expected int32 of shape [{len(self.images)}], one "
                f"for each image. Received: dtype={self.labels.dtype}, "
                f"shape={list(self.labels.shape)}"
            )
        if self.images.dtype == np.float32 and self.images.size:
            low, high = self.images.min(), self.images.max()
            # Written so that NaN fails too.
            if not (low >= 0 and high <= 1):
                raise UserError(
                    "Invalid `images`: expected pixels in [0, 1]. Received: pixels in "
                    f"[{low:g}, {high:g}] (scale them first, by 1/255 if they go to "
                    "255)"
                )

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, start: int, stop: int) -> "Examples":
        """Returns examples `start` to `stop` (excluded), sharing memory with these."""
        return Examples(self.images[start:stop], self.labels[start:stop])

    def images_in_unit_range(self) -> np.ndarray:
        """Returns the images as float32 in [0, 1]; a copy if they are bytes."""
        if self.images.dtype == np.uint8:
            return self.images.astype(np.float32) / np.float32(255)
        return self.images

    def unit_range_source(self) -> "UnitRangeImages":
        """Returns the images as float32 in [0, 1], made when they are asked for."""
        return UnitRangeImages(self)


class UnitRangeImages:
    """Images in [0, 1] that take no memory beside their bytes.

    Args:
        examples: Whose images.
    """

    def __init__(self, examples: Examples) -> None:
        self._examples = examples

    @property
    def shape(self) -> tuple[int, ...]:
        """Is [n, height, width, channels]."""
        return self._examples.images.shape

    def __getitem__(self, places: np.ndarray) -> np.ndarray:
        """Returns the images at `places` `[n]`, float32 in [0, 1]."""
        few = Examples(self._examples.images[places], self._examples.labels[places])
        return few.images_in_unit_range()


@dataclass(frozen=True, eq=False)
class ImageDataset:
    """A dataset for classification, split into training and test examples.

    Attributes:
        name: What the user calls it.
        train: At least one example of at least two classes.
        test: At least one example, with images of the shape of the training images.
        class_names: One name a class, in the order of the labels; at least two.

    Raises:
        UserError: If one of that does not hold, or a label names no class.
    """

    name: str
    train: Examples
    test: Examples
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.num_classes < 2:
            raise UserError(
                "Invalid `--dataset`: expected images of at least two classes. "
                f"Received: dataset={self.name} with classes={list(self.class_names)}"
            )
        for split, examples in (("training", self.train), ("test", self.test)):
            self._check(split, examples)
        if self.train.images.shape[1:] != self.test.images.shape[1:]:
            raise UserError(
                "Invalid `--dataset`: expected images of one size. Received: "
                f"dataset={self.name} with training images of shape "
                f"{list(self.train.images.shape[1:])} and test images of shape "
                f"{list(self.test.images.shape[1:])} (resize them to one size first)"
            )
        if self.train.labels.min() == self.train.labels.max():
            raise UserError(
                "Invalid `--dataset`: expected training images of at least two "
                f"classes. Received: dataset={self.name} where every training image "
                f"is of class {self.class_names[self.train.labels[0]]!r}"
            )

    def _check(self, split: str, examples: Examples) -> None:
        if not len(examples):
            raise UserError(
                f"Invalid `--dataset`: expected at least one {split} image. Received: "
                f"dataset={self.name} with an empty {split} split"
            )
        low, high = examples.labels.min(), examples.labels.max()
        if low < 0 or high >= self.num_classes:
            raise UserError(
                f"Invalid `--dataset`: expected labels from 0 to {self.num_classes - 1}"
                f", one for each of {self.num_classes} classes. Received: "
                f"dataset={self.name} with {split} labels from {low} to {high} "
                "(negative labels often mark a split whose labels are not public)"
            )

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Shape of one image: (height, width, channels)."""
        height, width, channels = self.train.images.shape[1:]
        return height, width, channels

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    def hold_out(self, validation_size: int) -> tuple[Examples, Examples]:
        """Returns (training, validation) examples, both parts of `train`.

        Args:
            validation_size: Number of validation examples: the first of `train`, always
                the same ones. 0 holds none out.

        Raises:
            UserError: If it is negative or leaves nothing to train on.
        """
        total = len(self.train)
        if not 0 <= validation_size < total:
            raise UserError(
                f"Invalid `--validation_size`: expected 0 to {total - 1}, so that some "
                f"of the {total} training images are left to train on. Received: "
                f"validation_size={validation_size}"
            )
        validation = self.train.take(0, validation_size)
        return self.train.take(validation_size, total), validation
