"""What the methods that attack inside balls of one given radius share."""

from typing import Any

import keras

from mma_tf.attacks.arguments import check_step_size
from mma_tf.norms.registry import get_norm
from mma_tf.training.robust_model import RobustModel
from mma_tf.types import NormName


class FixedRadiusModel(RobustModel):
    """A `RobustModel` whose attack is PGD in the `eps`-ball.

    Args:
        classifier: Any Keras model, images [0, 1] to logits `[batch, classes]`.
        norm: "linf" or "l2".
        eps: Radius of the balls, in pixel units, > 0.
        attack_steps: PGD steps.
        step_size_factor: Length of a PGD step in units of eps / `attack_steps`.
        step_decay: Whether the steps become shorter, see `mma_tf.attacks.pgd`.
        kwargs: See `RobustModel`.

    Raises:
        ValueError: If an argument is out of its range.
        UserError: If the classifier ends in a softmax or sigmoid.
    """

    def __init__(
        self,
        classifier: keras.Model,
        *,
        norm: NormName,
        eps: float,
        attack_steps: int = 10,
        step_size_factor: float = 2.5,
        step_decay: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(classifier, **kwargs)
        get_norm(norm)
        if eps <= 0 or (norm == "linf" and eps > 1):
            raise ValueError(
                "Invalid `eps`: expected a length > 0, and at most 1 for linf. "
                f"Received: eps={eps}"
            )
        if attack_steps < 1:
            raise ValueError(
                "Invalid `attack_steps`: expected at least 1. "
                f"Received: attack_steps={attack_steps}"
            )
        check_step_size("step_size_factor", step_size_factor)
        self.norm = norm
        self.eps = eps
        self.attack_steps = attack_steps
        self.step_size_factor = step_size_factor
        self.step_decay = step_decay
