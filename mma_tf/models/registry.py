"""Networks by their names, and a user's own from a file."""

import pathlib

import keras

from mma_tf.errors import UserError, reason_of
from mma_tf.models.lenet import lenet5
from mma_tf.models.logits import check_logits
from mma_tf.models.small_cnn import small_cnn
from mma_tf.models.wide_resnet import wide_resnet

NETWORKS = ("small_cnn", "lenet5", "wide_resnet")
# Smaller images leave nothing after the pooling.
_LEAST_SIDE = {"small_cnn": 2, "lenet5": 4}


def build(
    network: str,
    *,
    input_shape: tuple[int, int, int],
    num_classes: int,
    depth: int = 28,
    width: int = 4,
    kernel_init: str = "glorot_uniform",
) -> keras.Model:
    """Returns a new network, or a user's own from a `.keras` file.

    Args:
        network: A name in `NETWORKS`, or the path of a `.keras` file, whose weights
            are where training starts.
        input_shape: Height, width and channels of the images.
        num_classes: How many logits it gives.
        depth: Of a wide_resnet.
        width: Of a wide_resnet.
        kernel_init: Of a small_cnn or lenet5, an initialiser of Keras by its name.

    Raises:
        UserError: If there is no such network or file, or the file's model does not
            fit the data or gives no logits, or the images are too small for a network.
    """
    if network.endswith(".keras"):
        return _load(pathlib.Path(network), input_shape, num_classes)
    least = _LEAST_SIDE.get(network, 1)
    if min(input_shape[:2]) < least:
        raise UserError(
            f"Invalid `--network`: expected images of {least}x{least} or more for "
            f"{network}. Received: images of {input_shape[0]}x{input_shape[1]}"
        )
    if network == "small_cnn":
        return small_cnn(input_shape, num_classes, kernel_init=kernel_init)
    if network == "lenet5":
        return lenet5(input_shape, num_classes, kernel_init=kernel_init)
    if network == "wide_resnet":
        return wide_resnet(input_shape, num_classes, depth=depth, width=width)
    raise UserError(
        f"Invalid `--network`: expected {', '.join(NETWORKS)} or the path of a .keras "
        f"file. Received: --network={network}"
    )


def _load(
    path: pathlib.Path, input_shape: tuple[int, int, int], num_classes: int
) -> keras.Model:
    if not path.is_file():
        raise UserError(
            "Invalid `--network`: expected a .keras file that exists. Received: "
            f"--network={path}"
        )
    try:
        # Safe mode runs no code that the file brings along.
        classifier = keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:
        # What a file of any origin makes a loader raise cannot be listed.
        raise UserError(
            f"Invalid `--network`: {path} cannot be loaded as a Keras model "
            f"({reason_of(error)})."
        ) from error
    _check_fit(classifier, path, input_shape, num_classes)
    check_logits(classifier)
    return classifier


def _check_fit(
    classifier: keras.Model,
    path: pathlib.Path,
    input_shape: tuple[int, int, int],
    num_classes: int,
) -> None:
    found = getattr(classifier, "input_shape", None)
    # Several inputs have a list or a dict of shapes. A side left open fits any image.
    fits = (
        isinstance(found, tuple)
        and len(found) == 4
        and all(
            a in (None, b) for a, b in zip(found, (None, *input_shape), strict=True)
        )
    )
    if not fits:
        hint = "" if found else " (call the model once before you save it)"
        raise UserError(
            "Invalid `--network`: expected a model for any number of images of shape "
            f"{input_shape}. Received: {path} for inputs of shape {found}{hint}"
        )
    if classifier.output_shape != (None, num_classes):
        raise UserError(
            f"Invalid `--network`: expected a model with {num_classes} outputs. "
            f"Received: {path} with outputs of shape {classifier.output_shape}"
        )
