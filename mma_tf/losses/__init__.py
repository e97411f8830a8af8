"""Losses, one value an example: `loss(labels, logits) -> [batch]`."""

from mma_tf.losses.carlini_wagner import carlini_wagner_loss
from mma_tf.losses.cross_entropy import cross_entropy
from mma_tf.losses.dlr import dlr_loss, targeted_dlr_loss
from mma_tf.losses.logit_margin import logit_margin_loss
from mma_tf.losses.soft_logit_margin import soft_logit_margin_loss

__all__ = [
    "carlini_wagner_loss",
    "cross_entropy",
    "dlr_loss",
    "logit_margin_loss",
    "soft_logit_margin_loss",
    "targeted_dlr_loss",
]
