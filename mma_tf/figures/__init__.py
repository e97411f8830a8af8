"""Pictures that explain the method, drawn from real networks and real runs."""

from mma_tf.figures.adversarial_grid import adversarial_grid_figure
from mma_tf.figures.landscape import landscape_figure
from mma_tf.figures.margin import margin_figure
from mma_tf.figures.margins_during_training import (
    margins_animation,
    margins_during_training_figure,
)
from mma_tf.figures.one_dimension import one_dimension_figure

__all__ = [
    "adversarial_grid_figure",
    "landscape_figure",
    "margin_figure",
    "margins_animation",
    "margins_during_training_figure",
    "one_dimension_figure",
]
