"""TRADES: clean loss, and how far the prediction moves within a ball."""

from typing import Any

import keras
import tensorflow as tf

from mma_tf.attacks.pgd import pgd
from mma_tf.training.fixed_radius_model import FixedRadiusModel
from mma_tf.training.robust_model import Batch, Objective
from mma_tf.types import Tensor


class TRADESModel(FixedRadiusModel):
    """Trains on L_CE(x) + beta * max over the ball of KL(f(x) || f(x')).

    Progress reports `accuracy` of the clean images and `divergence`, the KL term.

    Args:
        classifier: Any Keras model, images [0, 1] to logits `[batch, classes]`.
        beta: Weight of the divergence, >= 0.
        kwargs: `norm`, `eps`, `attack_steps`, `step_size_factor`,
            `step_decay`: see `FixedRadiusModel`; `weight_decay`, `seed`: see
            `RobustModel`.

    Raises:
        ValueError: If an argument is out of its range.
        UserError: If the classifier ends in a softmax or sigmoid.

    Reference: Zhang et al., ICML 2019 (arXiv 1901.08573). Differs from the authors'
    code: the inner maximisation starts at a random point of the ball, as our other
    attacks do, not at the image plus a Gaussian of deviation 0.001.
    """

    reported = ("divergence",)

    def __init__(
        self, classifier: keras.Model, *, beta: float = 6.0, **kwargs: Any
    ) -> None:
        super().__init__(classifier, **kwargs)
        if beta < 0:
            raise ValueError(
                f"Invalid `beta`: expected a number >= 0. Received: beta={beta}"
            )
        self.beta = beta

    def objective(self, batch: Batch, tape: tf.GradientTape) -> Objective:
        with tape.stop_recording():
            reference = self.inference_logits_fn(batch.images)
            points = pgd(
                self.inference_logits_fn,
                batch.images,
                batch.labels,
                norm=self.norm,
                eps=self.eps,
                num_steps=self.attack_steps,
                step_size=self.step_size_factor * self.eps / self.attack_steps,
                step_decay=self.step_decay,
                loss=lambda _, logits: kl_divergence(reference, logits),
                seed=batch.seed,
            )
        clean_logits = self.logits(batch.images)
        divergence = kl_divergence(clean_logits, self.logits(points))
        loss = self.training_loss(batch.labels, clean_logits)
        loss += self.beta * divergence
        return Objective(loss, clean_logits, {"divergence": divergence})


def kl_divergence(logits: Tensor, other_logits: Tensor) -> Tensor:
    """Returns KL(softmax(logits) || softmax(other_logits)) `[batch]` in nats.

    Args:
        logits: `[batch, classes]`.
        other_logits: `[batch, classes]`.
    """
    log_p = tf.nn.log_softmax(logits)
    log_q = tf.nn.log_softmax(other_logits)
    return tf.reduce_sum(tf.exp(log_p) * (log_p - log_q), axis=-1)
