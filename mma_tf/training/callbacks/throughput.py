"""How many examples a second are trained on."""

import time
from typing import Any

from mma_tf.training.callbacks.step_callback import StepCallback


class Throughput(StepCallback):
    """Adds `examples_per_s` to the logs: waiting for data counts, validation does not.

    List it first: what callbacks before it do counts too.

    Args:
        batch_size: Examples in a (global) batch.
    """

    def __init__(self, batch_size: int) -> None:
        super().__init__()
        self.batch_size = batch_size
        self._began = 0.0
        self._seconds = 0.0
        self._steps = -1

    def on_train_batch_begin(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        self._began = time.perf_counter()

    def on_step_end(self, step: int, logs: dict[str, Any]) -> None:
        self._steps += 1
        # The first step compiles the graph and would hide the pace of the others.
        if self._steps > 0:
            self._seconds += time.perf_counter() - self._began
            logs["examples_per_s"] = self._steps * self.batch_size / self._seconds
