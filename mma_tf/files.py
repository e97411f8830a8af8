"""Files and folders that are there whole, or not at all."""

import contextlib
import errno
import hashlib
import os
import pathlib
import shutil
from collections.abc import Iterator
from typing import BinaryIO

_PARTIAL = ".partial"
_PREVIOUS = ".previous"
_CHUNK = 1 << 20


def write_text_atomically(path: pathlib.Path, text: str) -> None:
    """Writes `text` to `path`, which holds the old or the new text at any moment.

    Raises:
        OSError: If it cannot be written; the old file is then as it was.
    """
    with replacing(path) as file:
        file.write(text.encode("utf-8"))


def write_bytes_atomically(path: pathlib.Path, content: bytes) -> None:
    """Writes `content` to `path`, which holds the old or the new bytes at any moment.

    Raises:
        OSError: If it cannot be written; the old file is then as it was.
    """
    with replacing(path) as file:
        file.write(content)


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[BinaryIO]:
    """Gives a file to fill, which takes the place of `path` when all is written.

    Raises:
        OSError: If it cannot be written; the old file is then as it was.
    """
    partial = path.with_name(path.name + _PARTIAL)
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def replace_directory(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Gives an empty folder to fill, which takes the place of `path` when all is done.

    If filling fails, `path` stays as it was. `recover_directory` mends what a kill
    between the two renames leaves.
    """
    partial, previous = _beside(path)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    shutil.rmtree(previous, ignore_errors=True)
    if path.exists():
        path.rename(previous)
    try:
        partial.rename(path)
    except OSError:
        recover_directory(path)
        raise
    shutil.rmtree(previous, ignore_errors=True)


def recover_directory(path: pathlib.Path) -> None:
    """Puts back the folder that an interrupted `replace_directory` moved aside."""
    partial, previous = _beside(path)
    if previous.exists() and not path.exists():
        previous.rename(path)
    shutil.rmtree(previous, ignore_errors=True)
    shutil.rmtree(partial, ignore_errors=True)


def _beside(path: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    """Returns where the new folder is made, and where the old one is moved to.

    No folder of a user's has such a name, so none is removed for it.
    """
    return (
        path.with_name(f".{path.name}{_PARTIAL}"),
        path.with_name(f".{path.name}{_PREVIOUS}"),
    )


def sha256_of(path: pathlib.Path) -> str:
    """Returns the SHA-256 of a model: of the names and bytes of its files.

    Args:
        path: A file, which is known by its bytes whatever it is called, or a folder.

    Raises:
        FileNotFoundError: If there is nothing at `path`.
    """
    if not path.exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    digest = hashlib.sha256()
    # What a link leads to is part of the model that TensorFlow loads.
    found = (
        pathlib.Path(folder, name)
        for folder, _, names in os.walk(path, followlinks=True)
        for name in names
    )
    for file in [path] if path.is_file() else sorted(found):
        # TensorFlow's fingerprint of a SavedModel differs from one saving to the next.
        if not file.is_file() or file.name == "fingerprint.pb":
            continue
        if not path.is_file():
            digest.update(str(file.relative_to(path)).encode() + b"\0")
        with file.open("rb") as opened:
            while chunk := opened.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()
