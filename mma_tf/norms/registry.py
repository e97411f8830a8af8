"""Norms by their names."""

from mma_tf.norms.base import Norm
from mma_tf.norms.l2 import L2
from mma_tf.norms.linf import LInf

_NORMS: dict[str, Norm] = {"linf": LInf(), "l2": L2()}


def get_norm(norm: str) -> Norm:
    """Returns the geometry that goes by the name `norm`, "linf" or "l2".

    Raises:
        ValueError: If there is no norm of that name.
    """
    if norm not in _NORMS:
        allowed = " or ".join(repr(name) for name in _NORMS)
        raise ValueError(f"Invalid `norm`: expected {allowed}. Received: norm={norm!r}")
    return _NORMS[norm]
