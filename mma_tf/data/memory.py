"""Whether images fit into memory, asked before it is too late to say so."""

import math

import psutil

from mma_tf.errors import UserError

# The arrays, and the copy that the input pipeline gathers its batches from.
_COPIES = 2


def available_bytes() -> int:
    """Returns how much memory can be had without swapping."""
    return psutil.virtual_memory().available


def require_memory(
    name: str, num_images: int, image_shape: tuple[int, ...], itemsize: int
) -> None:
    """Checks that decoded images fit into memory.

    Args:
        name: The dataset, for the message.
        num_images: Number of images, of all splits together.
        image_shape: (height, width, channels).
        itemsize: Bytes for each number of an image.

    Raises:
        UserError: If they do not; it says what is needed and what there is.
    """
    needed = _COPIES * num_images * math.prod(image_shape) * itemsize
    available = available_bytes()
    if needed > available:
        raise UserError(
            "Invalid `--dataset`: expected decoded images that fit into memory twice, "
            f"as arrays and in the input pipeline. Received: dataset={name}, which "
            f"needs {needed / 2**30:.2f} GiB of the {available / 2**30:.2f} GiB that "
            "are available (take a part of it, such as --train_split='train[:10%]', or "
            "smaller images)"
        )
