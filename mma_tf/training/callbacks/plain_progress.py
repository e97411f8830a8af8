"""Progress in lines: for logs and pipes, or beside Keras' bar."""

import time
from typing import Any

from mma_tf.training.callbacks.step_callback import StepCallback


class PlainProgress(StepCallback):
    """Prints a line at each validation, and one when none was printed for a while.

    List it last, after the callbacks whose numbers it prints.

    Args:
        last_step: The training's last step.
        every_seconds: The longest silence.
        beside_bar: Whether Keras' bar shows the training's own numbers. Then only
            validations get a line, and their numbers are taken out of the logs: with
            them the bar would be too long for a terminal.
    """

    def __init__(
        self, *, last_step: int, every_seconds: float = 30.0, beside_bar: bool = False
    ) -> None:
        super().__init__()
        self.last_step = last_step
        self.every_seconds = every_seconds
        self.beside_bar = beside_bar
        self._printed_at = 0.0
        self._printed_step = 0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        super().on_train_begin(logs)
        self._printed_at = time.monotonic()

    def on_step_end(self, step: int, logs: dict[str, Any]) -> None:
        validated = {name: v for name, v in logs.items() if name.startswith("val_")}
        if self.beside_bar:
            if validated:
                self._print(step, validated, begin="\n")
            for name in validated:
                del logs[name]
            return
        silence = time.monotonic() - self._printed_at
        if validated or silence > self.every_seconds or step == self.last_step:
            self._print(step, logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        logs = logs or {}
        is_validated = any(name.startswith("val_") for name in logs)
        if is_validated and self._printed_step != self.step:
            self._print(self.step, logs)

    def _print(self, step: int, numbers: dict[str, Any], begin: str = "") -> None:
        shown = " - ".join(f"{name}: {value:.4g}" for name, value in numbers.items())
        self._printed_step = step
        print(f"{begin}step {step}/{self.last_step} - {shown}", flush=True)
        self._printed_at = time.monotonic()
