"""Ctrl-C that is never lost."""

import signal
from types import FrameType, TracebackType
from typing import Any


class Interruption:
    """Raises KeyboardInterrupt at Ctrl-C, and at the next `check` once more.

    Python drops an exception that a signal raises within a destructor, and the program
    would go on as if nobody had pressed a key.
    """

    def __init__(self) -> None:
        self._came = False
        self._before: Any = None

    def __enter__(self) -> "Interruption":
        self._before = signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        signal.signal(signal.SIGINT, self._before)

    def check(self) -> None:
        """Raises KeyboardInterrupt if Ctrl-C was pressed."""
        if self._came:
            raise KeyboardInterrupt

    def _interrupt(self, signum: int, frame: FrameType | None) -> None:
        self._came = True
        raise KeyboardInterrupt
