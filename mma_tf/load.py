"""Classifiers from files, ours or anyone's, loaded to be judged."""

import dataclasses
import functools
import json
import math
import pathlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mma_tf.attacks.gradients import gives_gradient
from mma_tf.errors import UserError, reason_of
from mma_tf.export import DESCRIPTION, SAVED_MODEL
from mma_tf.files import sha256_of
from mma_tf.frozen import freeze, freeze_function
from mma_tf.models.inference import UnitRangeLogits
from mma_tf.models.logits import are_probabilities
from mma_tf.saved_models import load_endpoint
from mma_tf.types import LogitsFn, Tensor
from mma_tf.zoo import CARD, find_in_zoo, suggestion

_KERAS_FILE = ".keras"
_GRAPH = "saved_model.pb"


@dataclasses.dataclass(frozen=True)
class LoadedClassifier:
    """A classifier from a file.

    Attributes:
        name: Its path, as it was given.
        path: The folder or file that was loaded.
        kind: "saved_model" or "keras".
        logits_fn: Images `[batch, height, width, channels]` float32 in [0, 1] to logits
            `[batch, classes]`, float32 at least, in inference mode.
        num_classes: How many logits it gives.
        has_gradient: Whether a gradient with respect to the images can be taken; it may
            be zero everywhere.
        sha256: Of the names and bytes of its files.
        signature: The endpoint or signature that is used, None if there is no choice.
    """

    name: str
    path: pathlib.Path
    kind: str
    logits_fn: LogitsFn
    num_classes: int
    has_gradient: bool
    sha256: str
    signature: str | None


def find_model(path: str | pathlib.Path) -> pathlib.Path:
    """Returns the SavedModel folder or .keras file that `path` means.

    Args:
        path: One of these, a run directory (its best model is meant), its best/ or
            last/, or the name of a model that comes with the checkout.

    Raises:
        UserError: If there is none.
    """
    name, path = str(path), pathlib.Path(path)
    if not path.exists():
        path = find_in_zoo(name) or path
    if path.is_file() and path.suffix == _KERAS_FILE:
        return path
    for folder in (path, path / SAVED_MODEL, path / "best" / SAVED_MODEL):
        if (folder / _GRAPH).is_file():
            return folder
    if path.is_file():
        reason = "a file of another kind; other formats are not opened"
    elif path.is_dir():
        reason = f"there is no {_GRAPH} in it"
    else:
        reason = f"there is nothing of that name{suggestion(name)}"
    raise UserError(
        "Invalid `--model`: expected a SavedModel folder, a .keras file, a run "
        "directory or the name of a model that comes along. Received: "
        f"{path} ({reason})"
    )


def model_name(found: pathlib.Path) -> str:
    """Returns what to call a model: the name of its run, or of its own folder or file.

    Args:
        found: As `find_model` returns it. The last model of a run, in place of its
            best, has "-last" behind the name.
    """
    folder = found.resolve()
    if folder.name == SAVED_MODEL:
        folder = folder.parent
    if folder.name == "best":
        return folder.parent.name
    if folder.name == "last":
        return f"{folder.parent.name}-last"
    return folder.stem if folder.suffix == _KERAS_FILE else folder.name


def load_classifier(
    path: str | pathlib.Path,
    images: np.ndarray,
    *,
    num_classes: int | None = None,
    signature: str | None = None,
    input_range: tuple[float, float] = (0.0, 1.0),
) -> LoadedClassifier:
    """Returns a classifier from a file, tried on a few images.

    Nothing is unpickled, and no code that a .keras file brings along is run.

    Args:
        path: As `find_model` takes it.
        images: `[n, height, width, channels]` float32 in [0, 1], a few.
        num_classes: How many logits it has to give; any number >= 2 if None.
        signature: Name of the SavedModel's endpoint or signature, if it has several.
        input_range: The range of pixels that the model wants; images in [0, 1] are
            brought into it.

    Raises:
        UserError: If there is no model, it cannot be loaded, does not take such images,
            or gives other than one output `[batch, classes]`.
    """
    found = find_model(path)
    low, high = input_range
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UserError(
            "Invalid `--input_range`: expected two numbers, the lower one first, such "
            f"as 0,255. Received: {low:g},{high:g}"
        )
    _check_declared_range(found, input_range)
    is_keras = found.suffix == _KERAS_FILE
    if is_keras and signature is not None:
        raise UserError(
            "Invalid `--signature`: a .keras file has none; leave it out. Received: "
            f"--signature={signature}"
        )
    dtype, batch_size, used, fix = None, None, None, None
    function: Callable[[Tensor], Any]
    if is_keras:
        model = _load_keras(found)
        function = functools.partial(model, training=False)
        fix = functools.partial(freeze, model)
    else:
        used, function, dtype, batch_size = load_endpoint(found, signature)
    if batch_size is not None:
        raise UserError(
            f"Invalid `--model`: expected a model that takes any number of images. "
            f"Received: {found}, which takes {batch_size} at a time; export it with an "
            "open batch size"
        )

    logits_fn = UnitRangeLogits(function, (low, high), dtype, fix)
    if dtype is not None and dtype.is_integer and (low, high) == (0.0, 1.0):
        raise UserError(
            f"Invalid `--input_range`: {found} takes {dtype.name} pixels, not floating "
            "ones; say which, --input_range=0,255 for bytes."
        )
    outputs = _try(found, logits_fn, images, num_classes)
    if not is_keras:
        frozen = freeze_function(function, logits_fn.pixels(tf.constant(images)))
        if frozen is not None:
            logits_fn = dataclasses.replace(logits_fn, fix=lambda: frozen)
    return LoadedClassifier(
        name=str(path),
        path=found,
        kind="keras" if is_keras else "saved_model",
        logits_fn=logits_fn,
        num_classes=outputs.shape[1],
        has_gradient=_has_gradient(logits_fn, images, path),
        sha256=sha256_of(found),
        signature=used,
    )


def load_logits_fn(
    path: pathlib.Path, images: np.ndarray, *, num_classes: int
) -> LogitsFn:
    """Returns a classifier from a file as a function from images to logits.

    Args:
        path: As `find_model` takes it.
        images: `[n, height, width, channels]` float32 in [0, 1], a few to try it on.
        num_classes: How many logits it has to give.

    Raises:
        UserError: As `load_classifier` does, and if it gives probabilities.
    """
    loaded = load_classifier(path, images, num_classes=num_classes)
    if are_probabilities(loaded.logits_fn(tf.constant(images)).numpy()):
        raise UserError(
            f"Invalid `--model`: expected logits. Received: {loaded.path} whose "
            "outputs lie in [0, 1] and add up to 1, like a softmax's (export it "
            "without)"
        )
    return loaded.logits_fn


def _load_keras(path: pathlib.Path) -> keras.Model:
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    # Keras lets through what the archive, the layers and their code raise.
    except Exception as error:
        raise UserError(
            f"Invalid `--model`: {path} cannot be loaded ({reason_of(error)}); models "
            "with Lambda layers or classes of their own are judged as SavedModels "
            "(`model.export`)."
        ) from error
    if not isinstance(model, keras.Model):
        raise UserError(
            f"Invalid `--model`: expected a Keras model. Received: {path}, which holds "
            f"a {type(model).__name__}"
        )
    return model


def _try(
    path: pathlib.Path,
    logits_fn: LogitsFn,
    images: np.ndarray,
    num_classes: int | None,
) -> np.ndarray:
    try:
        outputs = logits_fn(tf.constant(images))
    # A foreign graph raises whatever its operations raise.
    except Exception as error:
        raise UserError(
            f"Invalid `--model`: {path} cannot be used as a classifier of images of "
            f"shape {images.shape[1:]} ({reason_of(error)})."
        ) from error
    if not tf.is_tensor(outputs):
        number = f"{len(outputs)} " if hasattr(outputs, "__len__") else ""
        raise UserError(
            f"Invalid `--model`: expected one output, logits. Received: {path}, which "
            f"gives {number}of them (a {type(outputs).__name__})"
        )
    wanted = "2 or more" if num_classes is None else str(num_classes)
    shape = tuple(outputs.shape)
    fits = len(shape) == 2 and shape[0] == len(images) and shape[1] >= 2
    if not fits or num_classes not in (None, shape[1]):
        raise UserError(
            f"Invalid `--model`: expected {wanted} logits for each image. Received: "
            f"{path} whose outputs for {len(images)} images have shape {shape}"
        )
    return outputs.numpy()


def _has_gradient(
    logits_fn: LogitsFn, images: np.ndarray, path: str | pathlib.Path
) -> bool:
    try:
        return gives_gradient(logits_fn, tf.constant(images))
    # A model with gradients must not pass for one that meets the black-box attacks.
    except tf.errors.OpError as error:
        raise UserError(
            f"Invalid `--model`: the gradient of {path} cannot be computed on this "
            f"device ({reason_of(error)}); try --nodeterministic, or the CPU."
        ) from error


def _check_declared_range(path: pathlib.Path, input_range: tuple[float, float]) -> None:
    """Refuses a range that contradicts what an export of ours says of itself."""
    if path.name != SAVED_MODEL:
        return
    for description in (path.parent / DESCRIPTION, path.parent / CARD):
        try:
            about = json.loads(description.read_text("utf-8"))
            declared = tuple(about["input"]["range"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if declared != tuple(input_range):
            raise UserError(
                f"Invalid `--input_range`: {path} wants images in "
                f"{declared[0]:g},{declared[1]:g}, as {description} says. Received: "
                f"--input_range={input_range[0]:g},{input_range[1]:g}"
            )
