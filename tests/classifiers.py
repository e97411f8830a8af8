"""Small classifiers whose behaviour is known, for tests."""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

# Of the images of `linear_on_grey`.
GREY_SHAPE = (4, 4, 1)


def linear_classifier(rng, *, num_pixels=12, num_classes=4, dtype="float64"):
    """Returns weights, biases and `logits_fn` of a linear classifier on flat images."""
    weights = rng.normal(size=(num_pixels, num_classes))
    biases = rng.normal(size=num_classes) * 0.1

    def logits_fn(images):
        return tf.matmul(images, tf.cast(weights, images.dtype)) + tf.cast(
            biases, images.dtype
        )

    return weights, biases, logits_fn


def linear_margins(weights, biases, images, labels, norm):
    """Returns the exact margins, without the box: min_j (z_y - z_j) / |w_y - w_j|*."""
    logits = images @ weights + biases
    order = {"linf": 1, "l2": 2}[norm]
    margins = []
    for z, y in zip(logits, labels, strict=True):
        others = [j for j in range(len(z)) if j != y]
        distances = [
            (z[y] - z[j]) / np.linalg.norm(weights[:, y] - weights[:, j], order)
            for j in others
        ]
        margins.append(max(min(distances), 0.0))
    return np.array(margins)


@dataclasses.dataclass(frozen=True)
class LinearOnGrey:
    """A linear classifier, grey images away from the box's edges, and their margins."""

    logits_fn: object
    images: np.ndarray
    labels: np.ndarray
    margins: dict


def linear_on_grey(num_classes=5, num_examples=40, num_wrong=4):
    """Returns one, of whose examples the first `num_wrong` are wrong."""
    rng = np.random.default_rng(1)
    num_pixels = int(np.prod(GREY_SHAPE))
    weights = rng.normal(size=(num_pixels, num_classes))
    biases = -0.5 * weights.sum(axis=0)
    images = rng.uniform(0.4, 0.6, size=(num_examples, num_pixels)).astype("float32")
    labels = np.argmax(images @ weights + biases, axis=1)
    labels[:num_wrong] = (labels[:num_wrong] + 1) % num_classes
    margins = {
        n: linear_margins(weights, biases, images, labels, n) for n in ("linf", "l2")
    }
    constants = [tf.constant(part, tf.float32) for part in (weights, biases)]

    def logits_fn(batch):
        flat = tf.reshape(batch, [-1, num_pixels])
        return tf.matmul(flat, constants[0]) + constants[1]

    return LinearOnGrey(logits_fn, images.reshape(-1, *GREY_SHAPE), labels, margins)


def small_network(*, batch_norm=False, image_shape=(6, 6, 1), num_classes=3):
    """Returns a small smooth convolutional classifier."""
    layers = [
        keras.Input(image_shape),
        keras.layers.Conv2D(4, 3, padding="same", activation="softplus"),
    ]
    if batch_norm:
        layers.append(keras.layers.BatchNormalization())
    layers += [keras.layers.Flatten(), keras.layers.Dense(num_classes)]
    return keras.Sequential(layers)


def random_examples(rng, num_examples, *, image_shape=(6, 6, 1), num_classes=3):
    """Returns float32 images in [0, 1] whose brightest third tells the label."""
    labels = rng.integers(num_classes, size=num_examples)
    images = rng.uniform(0.0, 0.4, size=(num_examples, *image_shape))
    band = max(image_shape[0] // num_classes, 1)
    for image, label in zip(images, labels, strict=True):
        image[label * band : (label + 1) * band] += 0.5
    return images.astype("float32"), labels.astype("int32")


def hiding_logits_fn(threshold):
    """Returns a classifier whose errors a gradient leads away from.

    Class 1 wins where the pixels' sum is above `threshold`; what gradient there is says
    to lower them.
    """

    def logits_fn(points):
        raised = tf.reduce_sum(tf.stop_gradient(points), axis=[1, 2, 3])
        misleading = -1e-5 * tf.reduce_sum(points, axis=[1, 2, 3])
        return tf.stack([tf.fill(tf.shape(raised), threshold), raised + misleading], -1)

    return logits_fn
