"""Callbacks that count training steps, not epochs."""

from typing import Any

import keras


class StepCallback(keras.callbacks.Callback):
    """Calls `on_step_end(step, logs)` with the number of training steps ever done.

    The count goes on over epochs, over several calls of `fit`, and from the step at
    which a restored model stands.
    """

    def __init__(self) -> None:
        super().__init__()
        self.step = 0
        self._steps_before_epoch = 0

    def on_step_end(self, step: int, logs: dict[str, Any]) -> None:
        """Called after training step number `step`, the first one being 1."""

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.step = steps_done(self.model)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._steps_before_epoch = self.step

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        self.step = self._steps_before_epoch + batch + 1
        self.on_step_end(self.step, logs if logs is not None else {})


def steps_done(model: keras.Model) -> int:
    """Returns how many training steps `model` has made."""
    own = getattr(model, "steps_done", None)
    return int(own.numpy() if own is not None else model.optimizer.iterations.numpy())
