"""How robust a classifier is: margins found by attacks, and accuracy under attack."""

from mma_tf.evaluation.judging import estimate_margins, evaluate
from mma_tf.evaluation.margins import MarginEstimate, an_pgd_margins
from mma_tf.evaluation.results import Check, Evaluation, Gallery, StageResult
from mma_tf.evaluation.robustness import (
    Judgement,
    Robustness,
    RobustnessMeter,
)
from mma_tf.evaluation.suites import SUITES, Stage, make_stages

__all__ = [
    "SUITES",
    "Check",
    "Evaluation",
    "Gallery",
    "Judgement",
    "MarginEstimate",
    "Robustness",
    "RobustnessMeter",
    "Stage",
    "StageResult",
    "an_pgd_margins",
    "estimate_margins",
    "evaluate",
    "make_stages",
]
