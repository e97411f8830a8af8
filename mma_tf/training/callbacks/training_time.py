"""What a training cost, over all its starts."""

import json
import os
import pathlib
import time
from typing import Any

from mma_tf.errors import UserError, reason_of
from mma_tf.files import write_text_atomically
from mma_tf.training.callbacks.step_callback import StepCallback


class TrainingTime(StepCallback):
    """Adds `train_hours` and `train_cpu_hours` to the logs: what the run cost so far.

    They count the whole of `fit`, compilation and validation included, and what was
    done again after a kill. The second is the time of all processor cores together,
    which other work on the machine does not stretch.

    Args:
        path: JSON file with the seconds of the starts before; it is made, and brought
            up to date every `every_steps` steps, so that a kill loses no more. After
            an exception, of which Keras tells no callback, call `write`.
        every_steps: Steps between two writes.

    Raises:
        UserError: When training begins, if the file is damaged.
    """

    def __init__(self, path: str | os.PathLike[str], *, every_steps: int) -> None:
        super().__init__()
        self.path = pathlib.Path(path)
        self.every_steps = every_steps
        self._before = {"seconds": 0.0, "cpu_seconds": 0.0, "starts": 0.0}
        self._began = self._clocks()

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        super().on_train_begin(logs)
        if self.path.exists():
            self._before = self._read()
        self._began = self._clocks()
        self.write()

    def on_step_end(self, step: int, logs: dict[str, Any]) -> None:
        spent = self.spent()
        logs["train_hours"] = spent["seconds"] / 3600
        logs["train_cpu_hours"] = spent["cpu_seconds"] / 3600
        if step % self.every_steps == 0:
            self.write()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self.write()

    def spent(self) -> dict[str, float]:
        """Returns `seconds`, `cpu_seconds` and `starts`, this one included."""
        seconds, cpu_seconds = self._clocks()
        return {
            "seconds": self._before["seconds"] + seconds - self._began[0],
            "cpu_seconds": self._before["cpu_seconds"] + cpu_seconds - self._began[1],
            "starts": int(self._before["starts"]) + 1,
        }

    def write(self) -> None:
        """Brings the file up to date."""
        write_text_atomically(self.path, json.dumps(self.spent(), indent=2) + "\n")

    def _read(self) -> dict[str, float]:
        try:
            told = json.loads(self.path.read_text("utf-8"))
            return {name: float(told[name]) for name in self._before}
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"Invalid run directory: {self.path} is damaged ({reason_of(error)}); "
                "remove it, and what the training costs is counted from here on."
            ) from error

    @staticmethod
    def _clocks() -> tuple[float, float]:
        return time.monotonic(), time.process_time()
