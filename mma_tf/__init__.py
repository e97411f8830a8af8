"""Max-margin adversarial training and honest evaluation of Keras image classifiers.

Names are imported when they are first used, so that the command line tools can answer
`--help` without loading TensorFlow.
"""

import importlib
from typing import Any

_HOMES = {
    "MMAModel": "mma_tf.training.mma_model",
    "UserError": "mma_tf.errors",
    "estimate_margins": "mma_tf.evaluation.judging",
    "evaluate": "mma_tf.evaluation.judging",
    "load_model": "mma_tf.trained_models",
}
_PACKAGES = ("attacks", "data", "evaluation", "losses", "models", "recipes", "training")

__all__ = [
    "MMAModel",
    "UserError",
    "estimate_margins",
    "evaluate",
    "load_model",
    *_PACKAGES,
]


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return importlib.import_module(f"mma_tf.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'mma_tf' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
