"""Learning rates that change with the number of the step.

The step is the run's own, so that a run that goes on does so at the rate it stopped at.
"""

import bisect
import itertools
import math
from collections.abc import Sequence
from typing import Any

from mma_tf.training.callbacks.step_callback import StepCallback


class _Schedule(StepCallback):
    """Sets the optimiser's learning rate before each step.

    Args:
        warmup_steps: In so many first steps the rate rises to what it would be.
    """

    def __init__(self, warmup_steps: int) -> None:
        super().__init__()
        if warmup_steps < 0:
            raise ValueError(
                "Invalid `warmup_steps`: expected a number >= 0. Received: "
                f"warmup_steps={warmup_steps}"
            )
        self.warmup_steps = warmup_steps
        self._current = math.nan

    def rate(self, steps_done: int) -> float:
        """Returns the learning rate of the step after so many."""
        share = min(1.0, (steps_done + 1) / (self.warmup_steps + 1))
        return share * self._warm_rate(steps_done)

    def _warm_rate(self, steps_done: int) -> float:
        raise NotImplementedError

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        super().on_train_begin(logs)
        self._current = math.nan
        self._set(self.step)

    def on_step_end(self, step: int, logs: dict[str, Any]) -> None:
        self._set(step)

    def _set(self, step: int) -> None:
        rate = self.rate(step)
        # Only when it changes: a callback of the user's may have set another.
        if rate != self._current:
            self._current = rate
            self.model.optimizer.learning_rate = rate


class PiecewiseSchedule(_Schedule):
    """Sets the optimiser's learning rate to `values[k]` from step `boundaries[k-1]` on.

    Args:
        values: Learning rates.
        boundaries: The number of steps done at which each next value begins, rising;
            one fewer than `values`.
        warmup_steps: In so many first steps the rate rises from 0, in a line.

    Raises:
        ValueError: If the numbers do not match, or the boundaries do not rise.
    """

    def __init__(
        self,
        values: Sequence[float],
        boundaries: Sequence[int] = (),
        *,
        warmup_steps: int = 0,
    ) -> None:
        super().__init__(warmup_steps)
        rising = all(a < b for a, b in itertools.pairwise(boundaries))
        if len(values) != len(boundaries) + 1 or not rising:
            raise ValueError(
                "Invalid `boundaries`: expected rising steps, one fewer than `values`. "
                f"Received: values={values}, boundaries={boundaries}"
            )
        self.values = tuple(values)
        self.boundaries = tuple(boundaries)

    def _warm_rate(self, steps_done: int) -> float:
        return self.values[bisect.bisect_right(self.boundaries, steps_done)]


class CosineSchedule(_Schedule):
    """Lets the learning rate fall along half a cosine, to 0 when `num_steps` are done.

    Args:
        peak: The rate at the end of the warm-up.
        num_steps: Steps of the whole run.
        warmup_steps: In so many first steps the rate rises from 0, in a line; the
            cosine begins after them.

    Raises:
        ValueError: If the warm-up takes the whole run.

    Reference: Loshchilov & Hutter, ICLR 2017 (arXiv 1608.03983), without restarts.
    """

    def __init__(self, peak: float, *, num_steps: int, warmup_steps: int = 0) -> None:
        super().__init__(warmup_steps)
        if not warmup_steps < num_steps:
            raise ValueError(
                "Invalid `warmup_steps`: expected fewer than `num_steps`. Received: "
                f"warmup_steps={warmup_steps}, num_steps={num_steps}"
            )
        self.peak = peak
        self.num_steps = num_steps

    def _warm_rate(self, steps_done: int) -> float:
        done = max(steps_done - self.warmup_steps, 0)
        share = min(done / (self.num_steps - self.warmup_steps), 1.0)
        return self.peak * (1 + math.cos(math.pi * share)) / 2
