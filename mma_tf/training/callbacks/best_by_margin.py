"""Keeps the model with the largest average margin."""

from collections.abc import Callable
from typing import Any

from mma_tf.training.averaging import averaged_weights
from mma_tf.training.callbacks.margin_validation import AVERAGE_MARGIN
from mma_tf.training.callbacks.step_callback import StepCallback


class BestByMargin(StepCallback):
    """Calls `save(step, value)` whenever the validation's average margin is a record.

    While it does, the model has the averaged weights if its optimiser keeps any. List
    it after `MarginValidation`, whose result it reads.

    Args:
        save: Writes the model as it is now.
        best: The record to beat.
        monitor: The number in the logs, larger being better, if not that margin.
    """

    def __init__(
        self,
        save: Callable[[int, float], None],
        *,
        best: float = float("-inf"),
        monitor: str = AVERAGE_MARGIN,
    ) -> None:
        super().__init__()
        self.save = save
        self.best = best
        self.monitor = monitor

    def on_step_end(self, step: int, logs: dict[str, Any]) -> None:
        self._consider(logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._consider(logs or {})

    def _consider(self, logs: dict[str, Any]) -> None:
        value = logs.get(self.monitor)
        # Written so that what is not a number is no record.
        if value is None or not value > self.best:
            return
        with averaged_weights(self.model):
            self.save(self.step, value)
        self.best = value
