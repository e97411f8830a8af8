"""Files of arrays that are there whole, or not at all."""

import pathlib
from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from mma_tf.files import replacing


def write_arrays_atomically(
    path: pathlib.Path, arrays: Mapping[str, np.ndarray]
) -> None:
    """Writes arrays to the npz file `path`, which is the old or the new one, whole.

    Raises:
        OSError: If it cannot be written; the old file is then as it was.
    """
    with replacing(path) as file:
        # Its further arguments have other types than arrays.
        np.savez(file, **cast(Any, arrays))
