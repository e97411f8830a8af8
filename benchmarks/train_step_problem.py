"""Networks and images to time steps on: most examples are classified right.

A network is trained for a few seconds on the images that it is then timed on, by plain
cross-entropy, and written down with them; no PyTorch and no dataset is needed.
"""

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.train_step_cases import Network

_MNIST = Path(__file__).resolve().parent.parent / "tests/testdata"
_PATTERN_IMAGES = 256
# Side of the patterns' squares; how far their colours reach, and the noise's deviation.
_SQUARE, _CONTRAST, _NOISE = 8, 0.25, 0.15
# (epochs, batch size)
_FIT: dict[Network, tuple[int, int]] = {"lenet5": (6, 50), "wide_resnet": (3, 32)}


def make_problem(network: Network, path: Path, *, seed: int = 0) -> float:
    """Trains a network and writes it with its images as npz.

    The file holds `images` uint8 `[n, height, width, channels]`, `labels` int32 `[n]`,
    `weight_<i>` in Keras' order, `roles` (what each weight is: "kernel", "bias", ...),
    `logits` of the first images in inference mode, and `memory` `[n]`, numbers uniform
    in [0, 1): the memory of margins in units of `d_max`.

    Args:
        network: A name of the registry.
        path: The file to write; it is there as a whole or not at all.
        seed: Of the weights and of the synthetic images.

    Returns:
        The share of the images that are classified right.
    """
    import keras

    from mma_tf.models.registry import build

    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    images, labels = _digits() if network == "lenet5" else _patterns(rng)
    inputs = images.astype(np.float32) / np.float32(255)
    classifier = build(network, input_shape=images.shape[1:], num_classes=10)
    classifier.compile(
        keras.optimizers.Adam(1e-3),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    epochs, batch_size = _FIT[network]
    classifier.fit(inputs, labels, batch_size, epochs, verbose=0)
    logits = classifier.predict(inputs, batch_size, verbose=0)
    # By an open file: NumPy would add its own ending to the name.
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        np.savez(
            file,
            images=images,
            labels=labels,
            memory=rng.uniform(size=len(labels)).astype(np.float32),
            logits=logits[:32],
            roles=np.array([weight.name for weight in classifier.weights]),
            **weights_of(classifier),
        )
    partial.replace(path)
    return float(np.mean(np.argmax(logits, axis=1) == labels))


def weights_of(classifier: Any) -> dict[str, Any]:
    """Returns a Keras model's weights, arrays, by their names in the npz."""
    return {f"weight_{i}": w for i, w in enumerate(classifier.get_weights())}


def _digits() -> tuple[np.ndarray, np.ndarray]:
    with np.load(_MNIST / "autoattack_mnist_linf.npz") as file:
        return file["images"], file["labels"]


def _patterns(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Returns images of CIFAR-10's shape: a pattern of squares for a class, and noise.

    What a step costs does not depend on the pictures, as long as most are right.
    """
    side = 32 // _SQUARE
    colours = 0.5 + _CONTRAST * rng.uniform(-1, 1, size=(10, side, side, 3))
    patterns = colours.repeat(_SQUARE, axis=1).repeat(_SQUARE, axis=2)
    labels = rng.integers(10, size=_PATTERN_IMAGES).astype(np.int32)
    noise = _NOISE * rng.standard_normal((_PATTERN_IMAGES, 32, 32, 3))
    pixels = np.clip(patterns[labels] + noise, 0, 1)
    return np.round(255 * pixels).astype(np.uint8), labels
