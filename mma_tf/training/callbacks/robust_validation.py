"""Measures the accuracy under a suite of attacks during training."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mma_tf.evaluation.judging import evaluate
from mma_tf.training.callbacks.judged import Judged
from mma_tf.training.callbacks.step_callback import StepCallback
from mma_tf.types import NormName


class RobustValidation(StepCallback):
    """Adds `val_robust_accuracy` on validation images to the logs.

    With several radii the logs get the average over them, and
    `val_robust_accuracy_<eps>` for each. Callbacks listed after this one can monitor
    them. If the optimiser keeps averaged weights, those are judged, and in float32
    whatever the training computes in.

    Args:
        images: `[examples, height, width, channels]`, floating, in [0, 1].
        labels: `[examples]`, whole numbers in [0, classes).
        norm: "linf" or "l2".
        eps: A radius, or several, > 0, in pixel units.
        suite: A suite of `mma_tf.evaluation.suites.make_stages` with radii.
        pgd_step: Length of the steps of suite "paper", in units of eps; None for 1/4.
        every_steps: Validates every so many training steps; None, at the end of each
            epoch.
        seed: Of the attacks, the same at each validation.
        batch_size: Examples attacked at a time.
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        *,
        norm: NormName,
        eps: float | Sequence[float],
        suite: str = "quick",
        pgd_step: float | None = None,
        every_steps: int | None = None,
        seed: int = 0,
        batch_size: int = 250,
    ) -> None:
        super().__init__()
        self.images = images
        self.labels = labels
        self.norm = norm
        self.eps = eps
        self.suite = suite
        self.pgd_step = pgd_step
        self.every_steps = every_steps
        self.seed = seed
        self.batch_size = batch_size

    def on_step_end(self, step: int, logs: dict[str, Any]) -> None:
        if self.every_steps is not None and step % self.every_steps == 0:
            self._validate(logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self.every_steps is None:
            self._validate(logs if logs is not None else {})

    def _validate(self, logs: dict[str, Any]) -> None:
        judged = Judged(self.model)
        with judged.now():
            found = evaluate(
                judged.logits_fn,
                self.images,
                self.labels,
                norm=self.norm,
                eps=self.eps,
                suite=self.suite,
                pgd_step=self.pgd_step,
                seed=self.seed,
                batch_size=self.batch_size,
                run_checks=False,
            )
        logs["val_robust_accuracy"] = found.average_robust_accuracy()
        if len(found.eps) > 1:
            for eps, accuracy in found.robust_accuracy.items():
                logs[f"val_robust_accuracy_{eps:.4g}"] = accuracy
