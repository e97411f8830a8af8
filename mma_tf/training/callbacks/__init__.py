"""Keras callbacks, usable with any Keras model that classifies images."""

from mma_tf.training.callbacks.best_by_margin import BestByMargin
from mma_tf.training.callbacks.checkpointing import Checkpointing
from mma_tf.training.callbacks.margin_validation import MarginValidation
from mma_tf.training.callbacks.plain_progress import PlainProgress
from mma_tf.training.callbacks.robust_validation import RobustValidation
from mma_tf.training.callbacks.schedules import CosineSchedule, PiecewiseSchedule
from mma_tf.training.callbacks.stop_on_non_finite import StopOnNonFinite
from mma_tf.training.callbacks.stop_on_signal import Interrupted, StopOnSignal
from mma_tf.training.callbacks.throughput import Throughput
from mma_tf.training.callbacks.training_time import TrainingTime

__all__ = [
    "BestByMargin",
    "Checkpointing",
    "CosineSchedule",
    "Interrupted",
    "MarginValidation",
    "PiecewiseSchedule",
    "PlainProgress",
    "RobustValidation",
    "StopOnNonFinite",
    "StopOnSignal",
    "Throughput",
    "TrainingTime",
]
