"""Ends a training in good order when the machine wants it to stop."""

import signal
from collections.abc import Iterable
from types import FrameType
from typing import Any, Self

from mma_tf.training.callbacks.step_callback import StepCallback


class Interrupted(Exception):
    """Training was stopped by a signal, at a point from which it can go on.

    Attributes:
        signum: The signal's number.
        step: The number of training steps done.
    """

    def __init__(self, signum: int, step: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name} at step {step}")
        self.signum = signum
        self.step = step


class StopOnSignal(StepCallback):
    """Raises `Interrupted` at the end of the step during which a signal came.

    Use it as a context manager around `fit`, outside of which the signals act as they
    did before:

        with StopOnSignal() as stop_on_signal:
            model.fit(..., callbacks=[..., stop_on_signal])

    List it after the callback that saves, and give that one its `is_due`.

    Args:
        signals: By default SIGTERM, which clusters send, and SIGINT (Ctrl-C). A second
            one of the same kind acts at once, as without this callback.
    """

    def __init__(
        self, signals: Iterable[int] = (signal.SIGTERM, signal.SIGINT)
    ) -> None:
        super().__init__()
        self.signals = tuple(signals)
        self._received: int | None = None
        self._previous: dict[int, Any] = {}

    def is_due(self) -> bool:
        """Returns whether a signal came."""
        return self._received is not None

    def check(self) -> None:
        """Raises `Interrupted` if a signal came.

        For use between steps, when all that is worth keeping is saved.
        """
        if self._received is not None:
            raise Interrupted(self._received, self.step)

    def __enter__(self) -> Self:
        self._received = None
        for signum in self.signals:
            self._previous[signum] = signal.signal(signum, self._receive)
        return self

    def __exit__(self, *error: object) -> None:
        for signum, handler in self._previous.items():
            _handle(signum, handler)
        self._previous.clear()

    def on_step_end(self, step: int, logs: dict[str, Any]) -> None:
        self.check()

    def _receive(self, signum: int, frame: FrameType | None) -> None:
        self._received = signum
        _handle(signum, self._previous[signum])


def _handle(signum: int, handler: Any) -> None:
    # None stands for a handler that was not installed from Python: it is not to be had.
    signal.signal(signum, signal.SIG_DFL if handler is None else handler)
