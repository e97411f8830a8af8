"""PyTorch's side of the comparison of training steps; a worker of `train_step.py`.

It runs in an environment with PyTorch and without TensorFlow (README.md).
"""

import time
from collections.abc import Sequence
from typing import Any

from benchmarks.train_step_worker import Mistake, peak_bytes, refuse, serve

try:
    import numpy as np
    import torch
    import torch.nn.functional as F
    from torch import nn

    from benchmarks.torch_train_step_mma import MMATraining, pgd
    from benchmarks.torch_train_step_networks import make_network
except ModuleNotFoundError as error:
    refuse(
        f"--peer_python lacks the package {error.name}; benchmarks/README.md says how "
        "to make an environment that has it."
    )

_LOGITS_TOLERANCE = 1e-3
_LAYOUTS = (torch.contiguous_format, torch.channels_last)
_LAYOUT_TRIALS = 5


class _Training:
    """Whole MMA steps."""

    def __init__(self, training: MMATraining, order: Sequence[torch.Tensor]) -> None:
        self._training = training
        self._order = order
        self._done = 0

    def run(self, steps: int) -> dict[str, Any]:
        """Trains for so many steps."""
        started = time.perf_counter()
        answers = []
        for _ in range(steps):
            answers.append(self._training.step(self._order[self._done]))
            self._done += 1
        _wait()
        seconds = (time.perf_counter() - started) / steps
        right = torch.stack([answer["correct"].float() for answer in answers]).mean()
        eps = torch.stack([answer["eps"] for answer in answers]).mean()
        return {"seconds": seconds, "right": float(right), "eps": float(eps)}

    def check(self) -> dict[str, Any]:
        """Makes one step and returns what it computed."""
        training, index = self._training, self._order[0]
        answer = training.step(index)
        with torch.no_grad():
            logits = training.network.train()(training.images[index])
            after = F.cross_entropy(logits, training.labels[index])
        return {
            "loss": float(answer["loss"]),
            "values": answer["eps"].tolist(),
            "after": float(after),
        }


class _Attack:
    """PGD steps of an evaluation."""

    def __init__(
        self,
        training: MMATraining,
        index: torch.Tensor,
        parameters: dict[str, Any],
        random_start: bool,
    ) -> None:
        self._network = training.network.eval().requires_grad_(False)
        self._images, self._labels = training.images[index], training.labels[index]
        self._parameters = parameters
        self._random_start = random_start

    def run(self, steps: int) -> dict[str, Any]:
        """Attacks so many times; the seconds are those of one PGD step."""
        started = time.perf_counter()
        for _ in range(steps):
            points = self._attack()
        _wait()
        seconds = (time.perf_counter() - started) / steps
        with torch.no_grad():
            right = self._network(points).argmax(1) == self._labels
        return {
            "seconds": seconds / self._parameters["attack_steps"],
            "right": float(right.float().mean()),
            "eps": None,
        }

    def check(self) -> dict[str, Any]:
        """Attacks once and returns the losses found."""
        points = self._attack()
        with torch.no_grad():
            losses = _cross_entropy(self._network(points), self._labels)
        return {"loss": float(losses.mean()), "values": losses.tolist()}

    def _attack(self) -> torch.Tensor:
        return pgd(
            self._network,
            self._images,
            self._labels,
            _cross_entropy,
            eps=self._parameters["test_eps"],
            step_size=self._parameters["test_step_size"],
            num_steps=self._parameters["attack_steps"],
            random_start=self._random_start,
        )


class Side:
    """The handlers of the requests; one case in the life of a process."""

    def __init__(self) -> None:
        self._device = "cpu"
        self._work: _Training | _Attack

    def hello(self, device: str, threads: int) -> dict[str, Any]:
        """Returns the version; checks the device, and sets the threads."""
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        name = ""
        if device == "gpu":
            if not torch.cuda.is_available():
                raise Mistake("--device=gpu: PyTorch sees no GPU here.")
            self._device = "cuda"
            name = torch.cuda.get_device_name()
            torch.backends.cudnn.benchmark = True
        return {"versions": f"PyTorch {torch.__version__}", "device": name}

    def prepare(
        self,
        parameters: dict[str, Any],
        path: str,
        is_training: bool,
        order: Sequence[Sequence[int]],
        check_in: str | None = None,
        tune_layout: bool = True,
    ) -> dict[str, Any]:
        """Makes the network and, if it is timed, the first step.

        Args:
            parameters: Of the recipe, by our names.
            path: The npz of `make_problem`.
            is_training: Whether steps are whole training steps.
            order: The examples of each step.
            check_in: If given, nothing will be timed: without random starts, in this
                dtype.
            tune_layout: Whether to take the memory layout that is faster here, and not
                PyTorch's own, which the authors' code leaves as it is.
        """
        with np.load(path) as file:
            arrays = dict(file)
        timed = check_in is None
        place = {
            "device": self._device,
            "dtype": torch.float64 if check_in == "float64" else torch.float32,
        }
        pixels = np.moveaxis(arrays["images"], -1, 1).astype(np.float32)
        images = torch.from_numpy(pixels / np.float32(255)).to(**place)
        # As TensorFlow multiplies float32 on a GPU, unless exactness is asked for.
        torch.backends.cuda.matmul.allow_tf32 = timed
        torch.backends.cudnn.allow_tf32 = timed
        network = make_network(parameters, arrays).to(**place).eval()
        _check_logits(network, images, arrays["logits"])
        if not timed:
            _freeze_statistics(network)
        layout = torch.contiguous_format
        # In float64 the other layout's convolutions round equal pixels differently,
        # which breaks the ties of the pooling (images' backgrounds) at random.
        if tune_layout and check_in != "float64":
            layout = _faster_layout(network, images[: parameters["batch_size"]])
        training = MMATraining(
            network.to(memory_format=layout),
            images.contiguous(memory_format=layout),
            torch.from_numpy(arrays["labels"].astype(np.int64)).to(self._device),
            # In float32, as our memory is, also where all else is float64.
            torch.from_numpy(arrays["memory"] * parameters["d_max"]).to(self._device),
            parameters,
            random_start=timed,
        )
        indices = [torch.tensor(index, device=self._device) for index in order]
        if is_training:
            self._work = _Training(training, indices)
        else:
            self._work = _Attack(training, indices[0], parameters, timed)
        if timed:
            self.run(1)
        return {"layout": str(layout).removeprefix("torch.")}

    def run(self, steps: int) -> dict[str, Any]:
        """Runs and returns the seconds of a step."""
        return {**self._work.run(steps), "peak_bytes": peak_bytes()}

    def check(self) -> dict[str, Any]:
        """Returns what a step computed."""
        return self._work.check()


def _cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(logits, labels, reduction="none")


def _freeze_statistics(network: nn.Module) -> None:
    """Makes moving averages stand still: PyTorch's variance is not quite Keras'."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.0


def _faster_layout(network: nn.Module, images: torch.Tensor) -> torch.memory_format:
    """Returns the layout in which a gradient of the images takes the least time."""
    network.requires_grad_(False)
    least = dict.fromkeys(_LAYOUTS, float("inf"))
    for _ in range(_LAYOUT_TRIALS):
        # In turns, so that what else the machine does hits both.
        for layout in _LAYOUTS:
            network.to(memory_format=layout)
            points = images.contiguous(memory_format=layout).requires_grad_()
            for _ in range(2):
                started = time.perf_counter()
                torch.autograd.grad(network(points).sum(), points)
                _wait()
                least[layout] = min(least[layout], time.perf_counter() - started)
    network.requires_grad_(True)
    return min(_LAYOUTS, key=least.__getitem__)


def _check_logits(
    network: nn.Module, images: torch.Tensor, expected: np.ndarray
) -> None:
    with torch.no_grad():
        logits = network(images[: len(expected)]).cpu().numpy()
    error = float(np.max(np.abs(logits - expected)))
    if not error <= _LOGITS_TOLERANCE * float(np.max(np.abs(expected))):
        raise ValueError(f"PyTorch's logits differ from Keras' by {error:.2g}")


def _wait() -> None:
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def main() -> None:
    """Answers requests until there are no more."""
    side = Side()
    names = ("hello", "prepare", "run", "check")
    serve({name: getattr(side, name) for name in names})


if __name__ == "__main__":
    main()
