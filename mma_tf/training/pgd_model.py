"""Adversarial training with balls of one fixed, or growing, radius."""

from typing import Any

import keras
import tensorflow as tf

from mma_tf.attacks.pgd import pgd
from mma_tf.training.fixed_radius_model import FixedRadiusModel
from mma_tf.training.robust_model import Batch, Objective
from mma_tf.types import Tensor


class PGDModel(FixedRadiusModel):
    """Trains on PGD points inside balls of radius `eps` (PGD training, PGDLS).

    Progress reports `accuracy` of the clean images and `eps`, the radius in use.

    Args:
        classifier: Any Keras model, images [0, 1] to logits `[batch, classes]`.
        ramp_steps: PGDLS: the radius grows linearly from 0 to `eps` over so many
            training steps; 0 keeps it at `eps` from the start.
        kwargs: `norm`, `eps`, `attack_steps`, `step_size_factor`,
            `step_decay`: see `FixedRadiusModel`; `weight_decay`, `seed`: see
            `RobustModel`.

    Raises:
        ValueError: If an argument is out of its range.
        UserError: If the classifier ends in a softmax or sigmoid.

    Reference: Madry et al., ICLR 2018 (arXiv 1706.06083); PGDLS: Ding et al., ICLR 2020
    (arXiv 1812.02637).
    """

    reported = ("eps",)

    def __init__(
        self, classifier: keras.Model, *, ramp_steps: int = 0, **kwargs: Any
    ) -> None:
        super().__init__(classifier, **kwargs)
        if ramp_steps < 0:
            raise ValueError(
                "Invalid `ramp_steps`: expected a whole number >= 0. "
                f"Received: ramp_steps={ramp_steps}"
            )
        self.ramp_steps = ramp_steps

    def objective(self, batch: Batch, tape: tf.GradientTape) -> Objective:
        eps = self._current_eps(batch.images)
        with tape.stop_recording():
            points = pgd(
                self.inference_logits_fn,
                batch.images,
                batch.labels,
                norm=self.norm,
                eps=eps,
                num_steps=self.attack_steps,
                step_size=self.step_size_factor * eps / self.attack_steps,
                step_decay=self.step_decay,
                seed=batch.seed,
            )
            clean_logits = self.inference_logits_fn(batch.images)
        logits = self.logits(points)
        loss = self.training_loss(batch.labels, logits)
        return Objective(loss, clean_logits, {"eps": tf.fill(tf.shape(loss), eps)})

    def _current_eps(self, images: Tensor) -> Tensor:
        eps = tf.constant(self.eps, images.dtype)
        if not self.ramp_steps:
            return eps
        done = tf.cast(self.steps_done.value, images.dtype) / self.ramp_steps
        return eps * tf.minimum(done, 1.0)
