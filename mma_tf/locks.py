"""Files that one process holds at a time, until it lets go or ends, however it ends."""

import contextlib
import fcntl
import pathlib
from collections.abc import Iterator


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
