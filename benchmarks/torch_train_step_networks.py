"""The paper's networks in PyTorch, with the weights that Keras trained.

Images are `[batch, channels, height, width]` in [0, 1], logits `[batch, 10]`. Imports
PyTorch and NumPy alone.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

_GROUPS = ((16, 1), (32, 2), (64, 2))
# Of Keras' weights, what PyTorch calls them.
_NORMALIZATION = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


class LeNet5(nn.Module):
    """Two 5x5 convolutions with pooling, two dense layers."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            [nn.Conv2d(1, 32, 5, padding=2), nn.Conv2d(32, 64, 5, padding=2)]
        )
        self.dense = nn.ModuleList([nn.Linear(64 * 7 * 7, 1024), nn.Linear(1024, 10)])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Returns logits."""
        x = images
        for convolution in self.convolutions:
            x = F.max_pool2d(F.relu(convolution(x), inplace=True), 2)
        x = F.relu(self.dense[0](x.flatten(1)), inplace=True)
        return self.dense[1](x)


class WideResNet(nn.Module):
    """Pre-activated basic blocks in three groups, standardising each image itself."""

    def __init__(self, depth: int, width: int) -> None:
        super().__init__()
        self.first = _convolution(3, 16)
        blocks = []
        channels = 16
        for base, stride in _GROUPS:
            for number in range((depth - 4) // 6):
                strides = stride if number == 0 else 1
                blocks.append(_Block(channels, base * width, strides))
                channels = base * width
        self.blocks = nn.Sequential(*blocks)
        self.last = _normalization(channels)
        self.dense = nn.Linear(channels, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Returns logits."""
        axes = (1, 2, 3)
        least = 1 / math.sqrt(math.prod(images.shape[1:]))
        centred = images - images.mean(axes, keepdim=True)
        variance = centred.square().mean(axes, keepdim=True)
        x = centred * variance.clamp(min=least**2).rsqrt()
        x = self.blocks(self.first(x))
        x = F.relu(self.last(x), inplace=True).mean((2, 3))
        return self.dense(x)


class _Block(nn.Module):
    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.before_first = _normalization(channels_in)
        self.first = _convolution(channels_in, channels, stride=stride)
        self.before_second = _normalization(channels)
        self.second = _convolution(channels, channels)
        is_same = stride == 1 and channels_in == channels
        self.shortcut = (
            None if is_same else _convolution(channels_in, channels, 1, stride)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        activated = F.relu(self.before_first(x), inplace=True)
        shortcut = x if self.shortcut is None else self.shortcut(activated)
        residual = self.first(activated)
        residual = F.relu(self.before_second(residual), inplace=True)
        return shortcut + self.second(residual)


def _convolution(
    channels_in: int, channels: int, size: int = 3, stride: int = 1
) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels, size, stride, size // 2, bias=False)


def _normalization(channels: int) -> nn.BatchNorm2d:
    # PyTorch's momentum is the share of the new, Keras' (0.9) that of the old.
    return nn.BatchNorm2d(channels, eps=1e-5, momentum=0.1)


def make_network(
    parameters: Mapping[str, object], arrays: Mapping[str, np.ndarray]
) -> nn.Module:
    """Returns a network with Keras' weights.

    Args:
        parameters: `network`, `depth` and `width` of the recipe.
        arrays: `weight_<i>` and `roles` of the problem's npz.

    Raises:
        ValueError: If the weights are not those of the network.
    """
    network: nn.Module = (
        LeNet5()
        if parameters["network"] == "lenet5"
        else WideResNet(int(str(parameters["depth"])), int(str(parameters["width"])))
    )
    roles = arrays["roles"].tolist()
    weights = [arrays[f"weight_{i}"] for i in range(len(roles))]
    _load(network, list(zip(roles, weights, strict=True)))
    return network


def _load(network: nn.Module, weights: Sequence[tuple[str, np.ndarray]]) -> None:
    """Copies weights in the order of the data's way through the network.

    Only among convolutions of one size is that order the same on both sides: Keras
    lists a shortcut where it joins, after the convolutions that it bypasses.
    """

    def of(role: str, rank: int, size: int | None = None) -> Iterator[np.ndarray]:
        return (
            weight
            for name, weight in weights
            if name == role
            and weight.ndim == rank
            and (size is None or weight.shape[0] == size)
        )

    sizes = {weight.shape[0] for _, weight in weights if weight.ndim == 4}
    kernels = {size: of("kernel", 4, size) for size in sizes}
    dense_kernels, biases = of("kernel", 2), of("bias", 1)
    normalizations = {name: of(name, 1) for name in _NORMALIZATION}
    from_convolutions = None
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            kernel = next(kernels[module.kernel_size[0]])
            _copy(module.weight, kernel.transpose(3, 2, 0, 1))
            from_convolutions = module.out_channels
        elif isinstance(module, nn.Linear):
            kernel = next(dense_kernels)
            if from_convolutions is not None:
                # Keras flattens with the channels last, PyTorch with them first.
                kernel = kernel.reshape(-1, from_convolutions, kernel.shape[1])
                kernel = kernel.transpose(1, 0, 2).reshape(-1, kernel.shape[2])
                from_convolutions = None
            _copy(module.weight, kernel.T)
        elif isinstance(module, nn.BatchNorm2d):
            for name, attribute in _NORMALIZATION.items():
                _copy(getattr(module, attribute), next(normalizations[name]))
            continue
        else:
            continue
        if module.bias is not None:
            _copy(module.bias, next(biases))
    left = [
        weight.shape
        for rest in (*kernels.values(), dense_kernels, biases, *normalizations.values())
        for weight in rest
    ]
    if left:
        raise ValueError(f"weights of shapes {left} belong to no layer")


@torch.no_grad()
def _copy(target: torch.Tensor, weight: np.ndarray) -> None:
    if target.shape != weight.shape:
        raise ValueError(
            f"expected a weight of shape {list(target.shape)}, got {weight.shape}"
        )
    target.copy_(torch.from_numpy(np.array(weight, np.float32)))
