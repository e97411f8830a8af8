"""Measures margins on validation images during training."""

import json
import os
import pathlib
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mma_tf.errors import RunError, reason_of
from mma_tf.evaluation.robustness import Judgement, Robustness, RobustnessMeter
from mma_tf.training.callbacks.judged import Judged
from mma_tf.training.callbacks.step_callback import StepCallback

AVERAGE_MARGIN = "val_average_margin"

# Of the margins' histogram, over [0, max_eps].
NUM_BINS = 50


class MarginValidation(StepCallback):
    """Adds margins and accuracies on validation images to the logs, and records them.

    The logs get `val_accuracy`, `val_robust_accuracy`, `val_average_margin` and
    `val_above_max_eps` (see `Robustness.summary`), so that callbacks listed after this
    one can monitor them: Keras' `ModelCheckpoint(monitor="val_average_margin",
    mode="max")`, `EarlyStopping`, or `BestByMargin`. If the optimiser keeps averaged
    weights, those are judged, and in float32 whatever the training computes in.

    Args:
        images: `[examples, height, width, channels]`, floating, in [0, 1].
        labels: `[examples]`, whole numbers in [0, classes).
        judgement: The attacks.
        every_steps: Validates every so many training steps; None, at the end of each
            epoch.
        last_step: Validates after this step too, if there are `every_steps`.
        record_path: A file to which each validation adds one line of JSON, with the
            training's own numbers, and a histogram of the margins.
        log_dir: A folder for TensorBoard: the same numbers, and the margins' histogram.
        seed: Of the attacks' random starts, the same at each validation.
        on_batch: Called after each batch of images; may raise to stop.
        reset_metrics: Whether the training's own numbers begin anew after a validation
            by step, so that each line of the record speaks of the steps since the last
            one; Keras' history of an epoch then does so too.

    Raises:
        RunError: From training, if `log_dir` cannot be written to.
        OSError: From training, if `record_path` cannot be.
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        judgement: Judgement,
        *,
        every_steps: int | None = None,
        last_step: int | None = None,
        record_path: str | os.PathLike[str] | None = None,
        log_dir: str | os.PathLike[str] | None = None,
        seed: int = 0,
        on_batch: Callable[[], None] = lambda: None,
        reset_metrics: bool = False,
    ) -> None:
        super().__init__()
        self.images = images
        self.labels = labels
        self.judgement = judgement
        self.every_steps = every_steps
        self.last_step = last_step
        self.record_path = None if record_path is None else pathlib.Path(record_path)
        self.log_dir = None if log_dir is None else os.fspath(log_dir)
        self.seed = seed
        self.on_batch = on_batch
        self.reset_metrics = reset_metrics
        self._begins_anew = False
        self._meter: tuple[RobustnessMeter, Judged] | None = None
        self._writer: tf.summary.SummaryWriter | None = None

    def on_train_batch_begin(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        if self._begins_anew and batch > 0:
            # Not at once: after the last batch Keras makes its history of them.
            self.model.reset_metrics()
        self._begins_anew = False

    def on_step_end(self, step: int, logs: dict[str, Any]) -> None:
        if self.is_due(step):
            self._validate(logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self.every_steps is None:
            self._validate(logs if logs is not None else {})

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def set_model(self, model: keras.Model) -> None:
        super().set_model(model)
        self._meter = None

    def is_due(self, step: int) -> bool:
        """Returns whether a validation belongs to `step`."""
        if self.every_steps is None or step == 0:
            return False
        return step % self.every_steps == 0 or step == self.last_step

    def _validate(self, logs: dict[str, Any]) -> None:
        started = time.perf_counter()
        meter, judged = self._get_meter()
        with judged.now():
            found = meter.measure(
                self.images, self.labels, seed=self.seed, on_batch=self.on_batch
            )
        seconds = time.perf_counter() - started
        logs.update({f"val_{key}": value for key, value in found.summary().items()})
        numbers = {name: float(value) for name, value in logs.items()}
        numbers["learning_rate"] = float(self.model.optimizer.learning_rate.numpy())
        self._write_record(numbers, found, seconds)
        self._write_events(numbers, found)
        self._begins_anew = self.reset_metrics and self.every_steps is not None

    def _get_meter(self) -> tuple[RobustnessMeter, Judged]:
        if self._meter is None:
            judged = Judged(self.model)
            self._meter = RobustnessMeter(judged.logits_fn, self.judgement), judged
        return self._meter

    def _write_record(
        self, numbers: dict[str, float], found: Robustness, seconds: float
    ) -> None:
        if self.record_path is None:
            return
        counts, edges = np.histogram(
            # Rounded to float32 the largest may lie beyond the last edge.
            np.minimum(found.margins, self.judgement.max_eps),
            NUM_BINS,
            range=(0.0, self.judgement.max_eps),
        )
        line = {
            "step": self.step,
            **numbers,
            "val_examples": found.num_examples,
            "val_seconds": seconds,
            "val_margin_histogram": {
                "lowest": float(edges[0]),
                "highest": float(edges[-1]),
                "counts": counts.tolist(),
            },
        }
        with self.record_path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _write_events(self, numbers: dict[str, float], found: Robustness) -> None:
        if self.log_dir is None:
            return
        try:
            if self._writer is None:
                self._writer = tf.summary.create_file_writer(self.log_dir)
            with self._writer.as_default(step=self.step):
                for name, value in numbers.items():
                    tf.summary.scalar(name, value)
                tf.summary.histogram("val_margin", found.margins, buckets=NUM_BINS)
            self._writer.flush()
        except tf.errors.OpError as error:
            raise RunError(
                f"The events of a validation cannot be written to {self.log_dir} "
                f"({reason_of(error)}); what was saved before is intact."
            ) from error
