"""How robust a classifier is: margins found by attacks, and accuracy under attack."""

from mma_tf.evaluation.margins import MarginEstimate, an_pgd_margins
from mma_tf.evaluation.robustness import (
    Judgement,
    Robustness,
    RobustnessMeter,
)

__all__ = [
    "Judgement",
    "MarginEstimate",
    "Robustness",
    "RobustnessMeter",
    "an_pgd_margins",
]
