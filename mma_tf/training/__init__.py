"""Training methods as Keras models, and callbacks for any Keras model."""

from mma_tf.training.mma_model import MMAModel
from mma_tf.training.pgd_model import PGDModel
from mma_tf.training.robust_model import RobustModel
from mma_tf.training.standard_model import StandardModel
from mma_tf.training.trades_model import TRADESModel

__all__ = ["MMAModel", "PGDModel", "RobustModel", "StandardModel", "TRADESModel"]
