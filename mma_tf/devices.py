"""What this process computes on."""

import tensorflow as tf


def has_gpu() -> bool:
    """Returns whether TensorFlow sees a GPU here."""
    return bool(tf.config.list_logical_devices("GPU"))
