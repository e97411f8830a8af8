"""On which devices a training runs."""

from typing import Literal

import tensorflow as tf

from mma_tf.devices import has_gpu
from mma_tf.errors import UserError

StrategyName = Literal["auto", "none", "mirrored"]


def make_strategy(
    name: StrategyName = "auto", *, logical_devices: int = 0
) -> tf.distribute.Strategy:
    """Returns the strategy under which to build and train a model.

    Args:
        name: "auto": all visible GPUs if there are several, otherwise one device;
            "none": one device; "mirrored": all visible devices.
        logical_devices: Splits the CPU into so many devices first, on which anyone can
            try what several GPUs do; 0 leaves it whole. See `split_cpu`.

    Raises:
        UserError: If the split is impossible.
    """
    if logical_devices:
        split_cpu(logical_devices)
    gpus = tf.config.list_logical_devices("GPU")
    devices = gpus if gpus and not logical_devices else []
    if logical_devices:
        devices = tf.config.list_logical_devices("CPU")
    if name == "none" or (name == "auto" and len(devices) < 2):
        return tf.distribute.get_strategy()
    names = [device.name for device in devices] or None
    return tf.distribute.MirroredStrategy(names)


def split_cpu(number: int) -> None:
    """Splits the CPU into logical devices; the same split once more changes nothing.

    Args:
        number: Of the devices.

    Raises:
        UserError: If TensorFlow is in use already, be it to read data, or the number is
            none.
    """
    cpu = tf.config.list_physical_devices("CPU")[0]
    parts = [tf.config.LogicalDeviceConfiguration() for _ in range(number)]
    try:
        tf.config.set_logical_device_configuration(cpu, parts)
    except (RuntimeError, ValueError) as error:
        raise UserError(
            "Invalid `--logical_devices`: expected a number of parts >= 1 to split the "
            "CPU into, before TensorFlow is in use. Received: "
            f"--logical_devices={number} ({error})"
        ) from error


def xla_pays(strategy: tf.distribute.Strategy) -> bool:
    """Returns whether to compile the training step with XLA.

    On one GPU it pays. On a CPU it is two to four times slower than the plain graph,
    and Keras does not compile under a strategy of several replicas.
    """
    return has_gpu() and strategy.num_replicas_in_sync == 1
