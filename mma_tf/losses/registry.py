"""The losses that attacks maximise, by their names."""

from collections.abc import Callable
from typing import TypeAlias

from mma_tf.losses.carlini_wagner import carlini_wagner_loss
from mma_tf.losses.cross_entropy import cross_entropy
from mma_tf.losses.dlr import dlr_loss, target_difference, targeted_dlr_loss
from mma_tf.losses.logit_margin import logit_margin_loss
from mma_tf.losses.soft_logit_margin import soft_logit_margin_loss
from mma_tf.types import PerExampleLoss, Tensor

# (labels, logits, targets) -> [batch]; an untargeted loss leaves the targets alone.
AttackLoss: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]

_UNTARGETED: dict[str, PerExampleLoss] = {
    "cross_entropy": cross_entropy,
    "carlini_wagner": carlini_wagner_loss,
    "logit_margin": logit_margin_loss,
    "soft_logit_margin": soft_logit_margin_loss,
    "dlr": dlr_loss,
}
_TARGETED: dict[str, AttackLoss] = {
    "targeted_dlr": targeted_dlr_loss,
    "target_difference": target_difference,
}


def get_attack_loss(name: str) -> AttackLoss:
    """Returns the loss that goes by `name`, as a function of labels, logits, targets.

    Raises:
        ValueError: If there is no loss of that name.
    """
    if name in _TARGETED:
        return _TARGETED[name]
    if name not in _UNTARGETED:
        allowed = ", ".join([*_UNTARGETED, *_TARGETED])
        raise ValueError(f"Invalid `loss`: expected {allowed}. Received: loss={name!r}")
    untargeted = _UNTARGETED[name]
    return lambda labels, logits, targets: untargeted(labels, logits)


def is_targeted(name: str) -> bool:
    """Returns whether the loss `name` aims at a target class."""
    return name in _TARGETED
