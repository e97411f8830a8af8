"""A learning rate that changes at given steps."""

import bisect
import itertools
from collections.abc import Sequence
from typing import Any

from mma_tf.training.callbacks.step_callback import StepCallback


class PiecewiseSchedule(StepCallback):
    """Sets the optimiser's learning rate to `values[k]` from step `boundaries[k-1]` on.

    Args:
        values: Learning rates.
        boundaries: The number of steps done at which each next value begins, rising;
            one fewer than `values`.

    Raises:
        ValueError: If the numbers do not match, or the boundaries do not rise.
    """

    def __init__(self, values: Sequence[float], boundaries: Sequence[int] = ()) -> None:
        super().__init__()
        rising = all(a < b for a, b in itertools.pairwise(boundaries))
        if len(values) != len(boundaries) + 1 or not rising:
            raise ValueError(
                "Invalid `boundaries`: expected rising steps, one fewer than `values`. "
                f"Received: values={values}, boundaries={boundaries}"
            )
        self.values = tuple(values)
        self.boundaries = tuple(boundaries)
        self._current = 0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        super().on_train_begin(logs)
        self._set(self.step)

    def on_step_end(self, step: int, logs: dict[str, Any]) -> None:
        # Not by equality: one execution may make several steps.
        if self._piece(step) != self._current:
            self._set(step)

    def _piece(self, step: int) -> int:
        return bisect.bisect_right(self.boundaries, step)

    def _set(self, step: int) -> None:
        self._current = self._piece(step)
        self.model.optimizer.learning_rate = self.values[self._current]
