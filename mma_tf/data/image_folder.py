"""A user's own pictures: `DIR/train/<class>/*.png` and `DIR/test/<class>/*.png`."""

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np

from mma_tf.data import memory, reading
from mma_tf.data.examples import Examples, ImageDataset
from mma_tf.errors import UserError

# Those that tfds.ImageFolder takes.
_SUFFIXES = (".png", ".jpg", ".jpeg")

# Names in a message, of folders that may be a whole disk's.
_SHOWN = 5


def load(
    *, source_dir: str | None, train_split: str = "train", test_split: str = "test"
) -> ImageDataset:
    """Returns the pictures below `source_dir`, read by `tfds.ImageFolder`.

    Class folders come one after another on disk; the examples are put in an order
    keyed by a hash of the file's name, which mixes the classes and does not depend on
    the file system.

    Args:
        source_dir: Has the folders `train_split` and `test_split`, each with a folder
            for each class, each with .png, .jpg or .jpeg files of one size.
        train_split: Name of the folder to train on.
        test_split: Name of the folder to test on.

    Returns:
        Images uint8 `[n, height, width, channels]`: 3 channels, or 1 if every picture
        is grey. Transparency is dropped. Classes in the order of their names.

    Raises:
        UserError: If a folder is missing, the classes of the two splits differ, or a
            picture cannot be read or has another size.
    """
    root = _root(source_dir)
    splits = {
        "--train_split": (train_split, _list_split(root, train_split, "--train_split")),
        "--test_split": (test_split, _list_split(root, test_split, "--test_split")),
    }
    class_names = _class_names(splits)
    # It takes seconds to import, which the checks above need not wait for.
    import tensorflow_datasets as tfds

    builder = tfds.ImageFolder(os.fspath(root))
    total = sum(len(names) for _, names in splits.values())
    pictures = _as_dataset(builder, train_split, decode=True)
    try:
        shape, dtype = reading.image_spec(pictures)
    except reading.ReadError as error:
        raise _unreadable(builder, train_split, error) from error
    memory.require_memory(
        "image_folder", total, shape, reading.stored_dtype(dtype).itemsize
    )
    train, test = (
        _read_split(builder, root, split, names, class_names)
        for split, names in splits.values()
    )
    if _is_grey(train.images) and _is_grey(test.images):
        train, test = (
            Examples(part.images[..., :1].copy(), part.labels) for part in (train, test)
        )
    return ImageDataset("image_folder", train, test, class_names)


def _root(source_dir: str | None) -> Path:
    if source_dir is None:
        raise UserError(
            "Invalid `--source_dir`: expected the folder of the pictures, with "
            "train/<class>/ and test/<class>/ below it. Received: source_dir=None (add "
            "--source_dir=DIR to --dataset=image_folder)"
        )
    # Absolute, since tfds joins the names of the files to it.
    root = Path(source_dir).expanduser().absolute()
    if not root.is_dir():
        raise UserError(
            "Invalid `--source_dir`: expected an existing folder, with train/<class>/ "
            f"and test/<class>/ below it. Received: source_dir={source_dir}"
        )
    return root


def _list_split(root: Path, split: str, flag: str) -> list[str]:
    """Returns the pictures of a split as `split/class/file`."""
    folder = root / split
    folders = sorted(entry.name for entry in root.iterdir() if entry.is_dir())
    if split not in folders:
        shown = folders[:_SHOWN] + ["..."] * (len(folders) > _SHOWN)
        raise UserError(
            f"Invalid `--source_dir`: expected a folder {split}/ with a folder for "
            f"each class. Received: source_dir={root} with "
            f"folders={shown} (put the pictures there, or name another "
            f"folder with {flag})"
        )
    names = []
    for entry in sorted(folder.iterdir()):
        if not entry.is_dir():
            continue
        pictures = [
            f"{split}/{entry.name}/{name}"
            for name in os.listdir(entry)
            if name.lower().endswith(_SUFFIXES)
        ]
        if not pictures:
            raise UserError(
                f"Invalid `--source_dir`: expected {', '.join(_SUFFIXES)} files in "
                f"every class folder. Received: source_dir={root} where "
                f"{split}/{entry.name} has none (fill or remove that folder)"
            )
        names.extend(pictures)
    if not names:
        raise UserError(
            f"Invalid `--source_dir`: expected a folder for each class in {split}/. "
            f"Received: source_dir={root} where {split}/ has none"
        )
    return names


def _class_names(splits: dict[str, tuple[str, list[str]]]) -> tuple[str, ...]:
    (train, train_names), (test, test_names) = splits.values()
    classes = {name.split("/")[1] for name in train_names}
    test_classes = {name.split("/")[1] for name in test_names}
    if classes != test_classes:
        raise UserError(
            f"Invalid `--source_dir`: expected the same class folders in {train}/ and "
            f"{test}/. Received: only in {train}/: {sorted(classes - test_classes)}, "
            f"only in {test}/: {sorted(test_classes - classes)}"
        )
    if len(classes) < 2:
        raise UserError(
            "Invalid `--source_dir`: expected folders of at least two classes in "
            f"{train}/. Received: one class, {next(iter(classes))!r}"
        )
    return tuple(sorted(classes))


def _read_split(
    builder: Any, root: Path, split: str, names: list[str], class_names: tuple[str, ...]
) -> Examples:
    ranked = sorted(names, key=_hash)
    position = {os.fsencode(root / name): rank for rank, name in enumerate(ranked)}
    try:
        images, labels = reading.read(
            _as_dataset(builder, split, decode=True),
            count=len(names),
            describe=lambda path: _relative(path, root),
            positions=lambda paths: np.array([position[path] for path in paths]),
        )
    except reading.ReadError as error:
        raise _unreadable(builder, split, error) from error
    # The builder also counts the classes of folders that are neither split.
    number = {name: label for label, name in enumerate(class_names)}
    renumber = [number.get(name, -1) for name in builder.info.features["label"].names]
    return Examples(images, np.array(renumber, np.int32)[labels])


def _hash(name: str) -> bytes:
    return hashlib.sha256(os.fsencode(name)).digest()


def _as_dataset(builder: Any, split: str, *, decode: bool) -> Any:
    import tensorflow_datasets as tfds

    dataset = builder.as_dataset(
        split=split,
        shuffle_files=False,
        decoders=None if decode else {"image": tfds.decode.SkipDecoding()},
        read_config=tfds.ReadConfig(try_autocache=False),
    )
    return dataset.map(
        lambda example: (example["image"], example["label"], example["image/filename"])
    )


def _unreadable(builder: Any, split: str, error: reading.ReadError) -> UserError:
    """Returns the error that names the picture on which reading stopped."""
    import tensorflow as tf

    encoded = _as_dataset(builder, split, decode=False).skip(error.num_read)
    image = builder.info.features["image"]
    found = f"a file in {split}/ that cannot be read"
    try:
        for content, _, path in encoded.take(error.batch):
            found = (
                f"{_relative(path.numpy(), Path(builder.data_dir))}, which cannot be"
            )
            # Fails as well for what is a picture of another kind, such as a GIF.
            tf.ensure_shape(image.decode_example(content), [None, None, 3])
    except (tf.errors.OpError, ValueError):
        pass
    return UserError(
        "Invalid `--source_dir`: expected .png or .jpg pictures that can be decoded. "
        f"Received: {found} (repair or remove it)"
    )


def _relative(path: bytes, root: Path) -> str:
    return os.path.relpath(os.fsdecode(path), root)


def _is_grey(images: np.ndarray, part: int = 4096) -> bool:
    """Says whether the channels agree; stops at the first part where they do not."""
    return all(
        (images[at : at + part, ..., :1] == images[at : at + part]).all()
        for at in range(0, len(images), part)
    )
