"""Saves the training at intervals."""

from collections.abc import Callable
from typing import Any

from mma_tf.training.callbacks.step_callback import StepCallback


class Checkpointing(StepCallback):
    """Calls `save(step)` every so many steps, at the last step, and when asked.

    Args:
        save: Writes everything that is needed to go on from `step`.
        every_steps: Steps between two saves.
        last_step: The training's last step, saved whatever the interval.
        is_due: Says after each step whether to save now, out of turn.
        also_at: Says of a step whether it is one to save at besides.
    """

    def __init__(
        self,
        save: Callable[[int], None],
        *,
        every_steps: int,
        last_step: int,
        is_due: Callable[[], bool] = lambda: False,
        also_at: Callable[[int], bool] = lambda step: False,
    ) -> None:
        super().__init__()
        self.save = save
        self.every_steps = every_steps
        self.last_step = last_step
        self.is_due = is_due
        self.also_at = also_at

    def on_step_end(self, step: int, logs: dict[str, Any]) -> None:
        in_turn = step % self.every_steps == 0 or step == self.last_step
        if in_turn or self.also_at(step) or self.is_due():
            self.save(step)
