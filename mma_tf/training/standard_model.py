"""Ordinary training on the images as they are, on the rails of the other methods."""

import tensorflow as tf

from mma_tf.training.robust_model import Batch, Objective, RobustModel


class StandardModel(RobustModel):
    """Trains a classifier on clean images by cross-entropy; see `RobustModel`."""

    def objective(self, batch: Batch, tape: tf.GradientTape) -> Objective:
        logits = self.logits(batch.images)
        return Objective(self.training_loss(batch.labels, logits), logits, {})
