"""Stops a training whose loss is no longer a number."""

import math
from typing import Any

from mma_tf.errors import RunError
from mma_tf.training.callbacks.step_callback import StepCallback


class StopOnNonFinite(StepCallback):
    """Raises `RunError`, naming the step, when the loss is infinite or not a number.

    List it before callbacks that save, so that nothing broken is saved.
    """

    def on_step_end(self, step: int, logs: dict[str, Any]) -> None:
        loss = logs.get("loss", 0.0)
        if not math.isfinite(loss):
            raise RunError(
                f"The loss became {loss} at step {step}: lower the learning rate, or "
                "use --precision=float32 if it is another; what was saved before is "
                "intact."
            )
