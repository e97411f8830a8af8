"""One MMA step in PyTorch, as its authors make it; imports PyTorch alone.

AN-PGD sees only those examples that are classified right, and computes no gradient but
the images'. Left out is what costs time in the authors' code and changes nothing: one
backward pass for both terms of the loss, optimisers are fused, and where ball and box
are one box, the projection is one operation.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def soft_logit_margin(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Returns L_SLM `[batch]` of logits `[batch, classes]`."""
    at = labels[:, None]
    others = logits.scatter(1, at, -torch.inf)
    return others.logsumexp(1) - logits.gather(1, at)[:, 0]


def pgd(
    network: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    loss: Loss,
    *,
    eps: torch.Tensor | float,
    step_size: torch.Tensor | float,
    num_steps: int,
    random_start: bool,
) -> torch.Tensor:
    """Returns points of the linf balls around `images` that raise the loss.

    Args:
        network: In inference mode, its weights without gradients.
        images: `[batch, channels, height, width]` in [0, 1].
        labels: `[batch]`.
        loss: Logits and labels to `[batch]`.
        eps: Radius, a number or `[batch, 1, 1, 1]`, in pixel units.
        step_size: Length of a step, likewise.
        num_steps: How many steps.
        random_start: Whether to start at a random point of the ball.
    """
    # The projection on both is one operation then.
    lower, upper = (images - eps).clamp_(min=0), (images + eps).clamp_(max=1)
    points = images
    if random_start:
        noise = torch.empty_like(images).uniform_(-1, 1)
        points = (images + eps * noise).clamp_(0, 1)
    for _ in range(num_steps):
        points = points.detach().requires_grad_()
        total = loss(network(points), labels).sum()
        (gradient,) = torch.autograd.grad(total, points)
        with torch.no_grad():
            points = (points + step_size * gradient.sign()).clamp_(lower, upper)
    return points.detach()


@torch.no_grad()
def boundary_search(
    network: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    direction: torch.Tensor,
    *,
    first_eps: torch.Tensor,
    max_eps: float,
    num_steps: int,
) -> torch.Tensor:
    """Returns the length `[batch]` at which `direction` crosses the boundary."""
    eps = first_eps
    lower, upper = torch.zeros_like(eps), torch.full_like(eps, max_eps)
    for _ in range(num_steps):
        points = (images + eps[:, None, None, None] * direction).clamp_(0, 1)
        wrong = soft_logit_margin(network(points), labels) >= 0
        lower, upper = torch.where(wrong, lower, eps), torch.where(wrong, eps, upper)
        eps = (lower + upper) / 2
    return eps


class MMATraining:
    """A network that trains by whole MMA steps.

    Args:
        network: On its device.
        images: `[n, channels, height, width]` in [0, 1], all of them.
        labels: `[n]`.
        memory: `[n]` margins, float32, in pixel units.
        parameters: Of the recipe, by our names.
        random_start: Whether AN-PGD starts at random.
    """

    def __init__(
        self,
        network: nn.Module,
        images: torch.Tensor,
        labels: torch.Tensor,
        memory: torch.Tensor,
        parameters: dict[str, Any],
        random_start: bool,
    ) -> None:
        self.network = network
        self.images, self.labels, self.memory = images, labels, memory
        self._parameters = parameters
        self._random_start = random_start
        weights, rate = list(network.parameters()), parameters["learning_rate"]
        decay = parameters["weight_decay"]
        self._optimizer: torch.optim.Optimizer
        if parameters["optimizer"] == "adam":
            self._optimizer = torch.optim.Adam(
                weights, rate, weight_decay=decay, fused=True
            )
        else:
            self._optimizer = torch.optim.SGD(
                weights, rate, parameters["momentum"], weight_decay=decay, fused=True
            )

    def step(self, index: torch.Tensor) -> dict[str, torch.Tensor]:
        """Makes a step on the examples `index` `[batch]`.

        Returns:
            `loss`, a scalar; `correct` and `eps`, `[batch]`.
        """
        coefficient = self._parameters["clean_loss_coeff"]
        images, labels = self.images[index], self.labels[index]
        clean_logits = self.network.train()(images)
        with torch.no_grad():
            correct = soft_logit_margin(clean_logits, labels) < 0
        points, found = self.an_pgd(
            images[correct], labels[correct], self.memory[index[correct]]
        )
        mixed, eps = images.clone(), images.new_zeros(len(index))
        mixed[correct], eps[correct] = points, found
        mixed_logits = self.network.train()(mixed)
        active = ~correct | (eps < self._parameters["d_max"])
        margin_loss = F.cross_entropy(mixed_logits, labels, reduction="none") * active
        loss = coefficient * F.cross_entropy(clean_logits, labels)
        loss = loss + (1 - coefficient) * margin_loss.mean()
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        self.memory[index] = eps.to(self.memory.dtype)
        return {"loss": loss.detach(), "correct": correct, "eps": eps}

    def an_pgd(
        self, images: torch.Tensor, labels: torch.Tensor, memory: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns boundary points, and how far they are, `[batch]`."""
        parameters = self._parameters
        radii = memory.clamp(min=parameters["min_eps"]).to(images.dtype)
        radii = radii.clamp(max=parameters["max_eps"])
        wide = radii[:, None, None, None]
        step_size = parameters["step_size_factor"] * wide / parameters["attack_steps"]
        self.network.eval().requires_grad_(False)
        points = pgd(
            self.network,
            images,
            labels,
            soft_logit_margin,
            eps=wide,
            step_size=step_size,
            num_steps=parameters["attack_steps"],
            random_start=self._random_start,
        )
        direction = (points - images) / wide
        eps = boundary_search(
            self.network,
            images,
            labels,
            direction,
            first_eps=radii,
            max_eps=parameters["max_eps"],
            num_steps=parameters["search_steps"],
        )
        self.network.requires_grad_(True)
        return (images + eps[:, None, None, None] * direction).clamp_(0, 1), eps
