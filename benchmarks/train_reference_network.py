"""Trains the network that both sides of the comparisons attack, and writes it down.

The network is the small convolutional one of Wong & Kolter (ICML 2018) for MNIST, or
LeNet5, trained on PGD points in linf balls by our own package. Its weights and the
first test images go into one npz that needs no TensorFlow to be read:

    .venv/bin/python -m benchmarks.train_reference_network \
        --source_dir=/path/to/mnist --out=/tmp/reference_network.npz

`benchmarks/independent_autoattack.py` then finds the independent figures for it.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

import mma_tf
from mma_tf.training.pgd_model import PGDModel


def reference_network() -> keras.Model:
    """Returns the network, images [0, 1] of MNIST to ten logits, about 166,000 weights.

    Reference: Wong & Kolter, ICML 2018 (arXiv 1711.00851), the MNIST network.
    """
    layers = keras.layers
    images = keras.Input((28, 28, 1))
    x = layers.Conv2D(16, 4, strides=2, padding="same", activation="relu")(images)
    x = layers.Conv2D(32, 4, strides=2, padding="same", activation="relu")(x)
    x = layers.Flatten()(x)
    x = layers.Dense(100, activation="relu")(x)
    return keras.Model(images, layers.Dense(10)(x), name="reference_network")


NETWORKS: dict[str, Callable[[], keras.Model]] = {
    "reference_network": reference_network,
    "lenet5": mma_tf.models.lenet5,
}


def main() -> None:
    """Trains, and writes `weight_0` ... (as `get_weights` has them) and test images."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="the npz to write")
    parser.add_argument("--network", choices=NETWORKS, default="reference_network")
    parser.add_argument("--source_dir", help="folder with MNIST's original files")
    parser.add_argument("--data_dir", help="where tensorflow-datasets keeps its data")
    parser.add_argument("--eps", type=float, default=0.2, help="linf training radius")
    parser.add_argument("--train_steps", type=int, default=4000)
    parser.add_argument("--attack_steps", type=int, default=10)
    parser.add_argument("--batch_size", type=int, default=128)
    parser.add_argument("--num_examples", type=int, default=1000, help="test images")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    keras.utils.set_random_seed(args.seed)
    dataset = mma_tf.data.load(
        "mnist", data_dir=args.data_dir, source_dir=args.source_dir
    )
    classifier = NETWORKS[args.network]()
    model = PGDModel(
        classifier,
        norm="linf",
        eps=args.eps,
        ramp_steps=args.train_steps // 4,
        attack_steps=args.attack_steps,
        seed=args.seed,
    )
    model.compile(
        keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(2e-3, args.train_steps)
        )
    )
    batches = mma_tf.data.training_batches(
        dataset.train,
        batch_size=args.batch_size,
        seed=args.seed,
        num_steps=args.train_steps,
    )
    started = time.perf_counter()
    model.fit(batches, shuffle=False, verbose=2)
    print(f"trained for {time.perf_counter() - started:.0f} s")

    images = dataset.test.images[: args.num_examples]
    labels = dataset.test.labels[: args.num_examples]
    if images.dtype != np.uint8:
        raise TypeError(f"expected images as bytes, got {images.dtype}")
    inputs = images.astype(np.float32) / np.float32(255)
    logits = classifier(inputs, training=False).numpy()
    print(f"clean accuracy: {np.mean(np.argmax(logits, axis=1) == labels):.4f}")
    inputs = keras.ops.convert_to_tensor(inputs)
    gradients = _margin_gradients(classifier, inputs[:16])
    weights = {f"weight_{i}": w for i, w in enumerate(classifier.get_weights())}
    np.savez_compressed(
        args.out,
        network=args.network,
        images=images,
        labels=labels.astype(np.int32),
        logits=logits,
        gradients=gradients,
        **weights,
    )


def _margin_gradients(classifier: keras.Model, images: object) -> np.ndarray:
    """Returns the gradient of logit 0 minus logit 1 with respect to the images."""
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(images)
        logits = classifier(images, training=False)
        difference = logits[:, 0] - logits[:, 1]
    return tape.gradient(difference, images).numpy()


if __name__ == "__main__":
    main()
