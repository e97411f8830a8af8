"""A classifier whose weights stand still, as attacks use it: faster, the same values.

An attack asks for logits and their gradient with respect to the images many times
between two changes of the weights. What depends on the weights alone is computed once
for all of these, and the images' gradient has kernels of its own.
"""

from mma_tf.frozen.classifier import freeze
from mma_tf.frozen.graph import freeze_function

__all__ = ["freeze", "freeze_function"]
