"""The networks of `train_reference_network.py` in PyTorch, with Keras' weights.

Imports PyTorch and NumPy alone.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

_TOLERANCE = 1e-5


class ReferenceNetwork(nn.Module):
    """Two convolutions and two dense layers; those are of stride 2, or with pooling.

    Images are `[batch, channels, height, width]` in [0, 1], as the attacks' libraries
    expect them; the feature maps are flattened in Keras' order, channels last.

    Args:
        weights: As Keras' `get_weights` gives them: kernel and bias of each layer,
            convolution kernels `[height, width, in, out]`, dense ones `[in, out]`.
        pooled: Whether the convolutions are of stride 1, each with 2x2 pooling.
    """

    def __init__(self, weights: Sequence[np.ndarray], *, pooled: bool = False) -> None:
        super().__init__()
        self.pooled = pooled
        self.stride = 1 if pooled else 2
        tensors = [torch.from_numpy(np.array(w, np.float32)) for w in weights]
        kernels, biases = tensors[0::2], tensors[1::2]
        ranks = [kernel.ndim for kernel in kernels]
        if ranks != [4, 4, 2, 2]:
            raise ValueError(
                "Invalid weights: expected two convolutions and two dense layers. "
                f"Received: kernels of ranks {ranks}"
            )
        axes = {4: (3, 2, 0, 1), 2: (1, 0)}
        self.kernels = nn.ParameterList(
            kernel.permute(axes[kernel.ndim]).contiguous() for kernel in kernels
        )
        self.biases = nn.ParameterList(biases)
        # Attacks ask for gradients of the images alone; Keras' side computes no others.
        self.requires_grad_(False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Returns logits `[batch, 10]`."""
        x = images
        for kernel, bias in zip(self.kernels[:2], self.biases[:2], strict=True):
            x = F.pad(x, _same_padding(x.shape[2:], kernel.shape[2:], self.stride))
            x = torch.relu(F.conv2d(x, kernel, bias, stride=self.stride))
            x = F.max_pool2d(x, 2) if self.pooled else x
        x = x.permute(0, 2, 3, 1).flatten(1)
        x = torch.relu(F.linear(x, self.kernels[2], self.biases[2]))
        return F.linear(x, self.kernels[3], self.biases[3])


def _same_padding(size: Sequence[int], kernel: Sequence[int], stride: int) -> list[int]:
    """Returns TensorFlow's "same" padding, as `F.pad` takes it: last axis first."""
    padding: list[int] = []
    for length, width in zip(reversed(size), reversed(kernel), strict=True):
        total = max((-(-length // stride) - 1) * stride + width - length, 0)
        padding += [total // 2, total - total // 2]
    return padding


@dataclasses.dataclass(frozen=True)
class Problem:
    """A network and the images to attack it on.

    Attributes:
        network: In evaluation mode, on the CPU.
        images: float32 `[num_images, 1, 28, 28]` in [0, 1].
        labels: int64 `[num_images]`.
        arrays: All arrays of the file it came from.
    """

    network: ReferenceNetwork
    images: torch.Tensor
    labels: torch.Tensor
    arrays: Mapping[str, np.ndarray]


def load_problem(path: Path, num_examples: int | None = None) -> Problem:
    """Reads an npz of `train_reference_network.py` or `independent_autoattack.py`.

    Args:
        path: The npz: `images`, `labels`, `weight_<i>`, and, if they are there, Keras'
            `logits` and `gradients`, which PyTorch's are held against.
        num_examples: How many of the images, the first; None takes all.

    Raises:
        ValueError: If PyTorch's logits or gradients differ from Keras' by more than
            1e-5 of the largest.
    """
    with np.load(path) as file:
        arrays = dict(file)
    count = sum(name.startswith("weight_") for name in arrays)
    weights = [arrays[f"weight_{i}"] for i in range(count)]
    pooled = str(arrays.get("network")) == "lenet5"
    network = ReferenceNetwork(weights, pooled=pooled).eval()
    images = torch.from_numpy(
        np.moveaxis(arrays["images"], -1, 1).astype(np.float32) / np.float32(255)
    ).contiguous()
    labels = torch.from_numpy(arrays["labels"].astype(np.int64))
    if "logits" in arrays:
        _compare("logits", network(images).numpy(), arrays["logits"])
    if "gradients" in arrays:
        gradients = _margin_gradients(network, images[: len(arrays["gradients"])])
        expected = np.moveaxis(arrays["gradients"], -1, 1)
        _compare("gradients", gradients.numpy(), expected)
    return Problem(network, images[:num_examples], labels[:num_examples], arrays)


def _margin_gradients(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Returns the gradient of logit 0 minus logit 1 with respect to the images."""
    images = images.clone().requires_grad_()
    logits = network(images)
    difference = (logits[:, 0] - logits[:, 1]).sum()
    return torch.autograd.grad(difference, images)[0]


def _compare(name: str, ours: np.ndarray, expected: np.ndarray) -> None:
    scale = float(np.max(np.abs(expected)))
    error = float(np.max(np.abs(ours - expected)))
    print(f"{name}: PyTorch - Keras at most {error:.1e}, largest {scale:.3g}")
    if not error <= _TOLERANCE * max(scale, 1.0):
        raise ValueError(f"PyTorch's {name} differ from Keras' by up to {error:.2g}")
