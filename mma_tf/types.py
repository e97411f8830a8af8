"""Names for the types that every module speaks of.

Shapes are written in docstrings as `[batch]`, `[batch, classes]` and
`[batch, height, width, channels]`.
"""

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

# TensorFlow ships no type information, so that a tensor is `Any` to a type checker.
Tensor: TypeAlias = Any

# Anything that `tf.convert_to_tensor` takes: tensors, numpy arrays, nested lists.
TensorLike: TypeAlias = Any

# A scalar for all examples, or a `[batch]` tensor with one value an example.
PerExample: TypeAlias = Any

NormName: TypeAlias = Literal["linf", "l2"]

# Images `[batch, ...]` in [0, 1] -> logits `[batch, classes]`.
LogitsFn: TypeAlias = Callable[[Tensor], Tensor]

# (labels `[batch]`, logits `[batch, classes]`) -> `[batch]`.
PerExampleLoss: TypeAlias = Callable[[Tensor, Tensor], Tensor]

# A whole number, or the `[2]` integer tensor of TensorFlow's stateless random ops.
Seed: TypeAlias = Any
