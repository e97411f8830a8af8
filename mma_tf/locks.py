"""Files that one process holds at a time, until it lets go or ends, however it ends."""

import contextlib
import fcntl
import pathlib
from collections.abc import Callable, Iterator

from mma_tf.errors import UserError


@contextlib.contextmanager
def held(path: pathlib.Path, *, wait: bool = False) -> Iterator[bool]:
    """Holds the lock of a file within the context, and tells whether it could.

    Args:
        path: The file; made if need be, and left there.
        wait: Whether to wait for a process that holds it.

    Raises:
        OSError: If the file cannot be made, or its file system knows no locks.
    """
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True


@contextlib.contextmanager
def held_folder(
    path: pathlib.Path, flag: str, *, check: Callable[[], None], wait: bool = False
) -> Iterator[None]:
    """Keeps other processes out of a folder within the context.

    Args:
        path: The folder; made if need be. It gets a file ".lock".
        flag: By whose value the user named it, without dashes.
        check: Called before anything is made; may raise to refuse the folder.
        wait: Whether to wait for a process that is at work in it.

    Raises:
        UserError: If another process is at work in it and this one does not wait, or it
            cannot be written.
    """
    with contextlib.ExitStack() as stack:
        try:
            check()
            path.mkdir(parents=True, exist_ok=True)
            is_held = stack.enter_context(held(path / ".lock", wait=wait))
        except OSError as error:
            raise UserError(
                f"Invalid `--{flag}`: {path} cannot be written "
                f"({error.strerror or error}); give another --{flag}."
            ) from error
        if not is_held:
            raise UserError(
                f"Invalid `--{flag}`: another process is at work in {path}; wait for "
                f"it, or give another --{flag}."
            )
        yield
