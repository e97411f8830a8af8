"""What `costs.py` measures; imports no framework."""

import dataclasses

# A quarter of what the MNIST recipe has: a sweep is over in minutes.
_STEPS = 10
_BATCH = 64
_EXAMPLES = 4096


@dataclasses.dataclass(frozen=True)
class Point:
    """A training whose steps are timed: the MNIST or CIFAR-10 recipe's but for these.

    Attributes:
        dataset: "mnist" or "cifar10", whose recipe and shape it has; the images are
            noise, which costs the same.
        attack_steps: PGD steps in a training step.
        batch_size: Examples in a training step, over all devices together.
        num_examples: Examples in the training data.
        logical_devices: Parts of the CPU that share a batch; 0 is the whole CPU.
        precision: Keras' dtype policy.
        steps: Training steps that are timed together.
        depth: Of a wide residual network; None is the recipe's.
    """

    dataset: str = "mnist"
    attack_steps: int = _STEPS
    batch_size: int = _BATCH
    num_examples: int = _EXAMPLES
    logical_devices: int = 0
    precision: str = "mixed_bfloat16"
    steps: int = 4
    depth: int | None = None


# By the name of what grows: its values, and the point for each.
SWEEPS: dict[str, list[tuple[int, Point]]] = {
    "attack_steps": [(n, Point(attack_steps=n)) for n in (5, 10, 20, 40, 80)],
    "batch_size": [(n, Point(batch_size=n)) for n in (32, 64, 128, 256)],
    "num_examples": [(n, Point(num_examples=n)) for n in (1_000, 10_000, 60_000)],
    "logical_devices": [
        (max(n, 1), Point(logical_devices=n, batch_size=128)) for n in (0, 2, 4)
    ],
}
# Of whose steps the time is told that is spent on waiting for the next batch. The
# networks and attacks that compute least starve first.
PIPELINES: dict[str, Point] = {
    "MNIST recipe": Point(attack_steps=40, batch_size=50, num_examples=60_000),
    "MNIST, 1 attack step": Point(attack_steps=1, batch_size=50, num_examples=60_000),
    "CIFAR-10 recipe's augmentation, WRN-10-4, 1 attack step": Point(
        dataset="cifar10",
        attack_steps=1,
        batch_size=128,
        num_examples=50_000,
        depth=10,
    ),
}
# Whose memory is looked at after each epoch.
EPOCHS = Point(attack_steps=1, num_examples=60_000, batch_size=250, steps=240)
NUM_EPOCHS = 5
