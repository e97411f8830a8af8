"""Progress for logs and pipes, where a bar would only leave control characters."""

import time
from typing import Any

from mma_tf.training.callbacks.step_callback import StepCallback


class PlainProgress(StepCallback):
    """Prints a line at each validation, and one when none was printed for a while.

    Args:
        last_step: The training's last step.
        every_seconds: The longest silence.
    """

    def __init__(self, *, last_step: int, every_seconds: float = 30.0) -> None:
        super().__init__()
        self.last_step = last_step
        self.every_seconds = every_seconds
        self._printed_at = 0.0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        super().on_train_begin(logs)
        self._printed_at = time.monotonic()

    def on_step_end(self, step: int, logs: dict[str, Any]) -> None:
        is_validated = any(name.startswith("val_") for name in logs)
        silence = time.monotonic() - self._printed_at
        if not (is_validated or silence > self.every_seconds or step == self.last_step):
            return
        numbers = " - ".join(f"{name}: {value:.4g}" for name, value in logs.items())
        print(f"step {step}/{self.last_step} - {numbers}", flush=True)
        self._printed_at = time.monotonic()
