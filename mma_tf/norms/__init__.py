"""Norms on images: linf and l2."""

from mma_tf.norms.base import Norm
from mma_tf.norms.registry import get_norm

__all__ = ["Norm", "get_norm"]
