"""Batches from examples in memory, addressed by the number of the step.

What a training batch holds is a function of the seed and of the number of its step
alone. A run that is resumed at a step therefore goes on as if it had never stopped, and
nothing of the input pipeline has to be saved.
"""

import numpy as np
import tensorflow as tf

from mma_tf import noise
from mma_tf.data.augment import AUGMENTATIONS
from mma_tf.data.examples import Examples
from mma_tf.errors import UserError
from mma_tf.moves import move
from mma_tf.types import Tensor

# Two streams of random numbers, drawn from one seed.
_ORDER, _AUGMENTATION = 0, 1
# Batches made ahead.
_PREFETCHED = 2


def training_batches(
    examples: Examples,
    *,
    batch_size: int,
    seed: int,
    num_steps: int,
    start_step: int = 0,
    augmentation: str = "none",
    augmentation_pad: int = 4,
) -> tf.data.Dataset:
    """Returns the batches of steps `start_step` to `num_steps` (excluded) of a run.

    Each epoch visits the examples in an order of its own; the `n % batch_size` that are
    left over at its end are dropped. The cardinality, `num_steps - start_step`, is set.

    Args:
        examples: What to train on.
        batch_size: Examples in a batch, over all devices together.
        seed: Decides the order and the augmentation.
        num_steps: Number of steps of the whole run, those before `start_step` included.
        start_step: First step to give; those before it are not computed.
        augmentation: A name in `AUGMENTATIONS`.
        augmentation_pad: How many pixels its crops pad with.

    Returns:
        Elements `({"image": float32 [batch_size, height, width, channels] in [0, 1],
        "index": int64 [batch_size]}, label int32 [batch_size])`, where index is the
        position in `examples`. Augmented ones have "moves" besides, int32
        [batch_size, 3]: how `mma_tf.moves.move` made the image of the example's own.

    Raises:
        UserError: If the augmentation is unknown, there are fewer examples than a batch
            takes, or the steps are not in order.
    """
    _check_batch_size(batch_size)
    if batch_size > len(examples):
        raise UserError(
            f"Invalid `--batch_size`: expected at most {len(examples)}, the number of "
            f"training images. Received: batch_size={batch_size}"
        )
    if augmentation not in AUGMENTATIONS:
        raise UserError(
            f"Invalid `--augmentation`: expected one of {', '.join(AUGMENTATIONS)}. "
            f"Received: augmentation={augmentation}"
        )
    if not 0 <= start_step <= num_steps:
        raise UserError(
            "Invalid `start_step`: expected 0 <= start_step <= num_steps. Received: "
            f"start_step={start_step}, num_steps={num_steps}"
        )
    draw_moves = AUGMENTATIONS[augmentation]
    images, labels = _as_tensors(examples)

    def gather(step: Tensor, index: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        inputs = {"image": tf.gather(images, index), "index": index}
        if draw_moves is not None:
            noise_seed = noise.fold_in(seed, _AUGMENTATION, step)
            moves = draw_moves(batch_size, noise_seed, padding=augmentation_pad)
            inputs["image"] = move(inputs["image"], moves)
            inputs["moves"] = moves
        inputs["image"] = _to_unit_range(inputs["image"])
        return inputs, tf.gather(labels, index)

    steps = tf.data.Dataset.range(start_step, num_steps)
    indices = _index_batches(len(examples), batch_size, seed, num_steps, start_step)
    batches = tf.data.Dataset.zip(steps, indices).map(
        gather, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    return _finish(batches, num_steps - start_step)


def evaluation_batches(examples: Examples, *, batch_size: int) -> tf.data.Dataset:
    """Returns all examples in order, each once; the last batch may be smaller.

    Args:
        examples: What to evaluate on.
        batch_size: Examples in a batch, over all devices together.

    Returns:
        Elements `(image float32 [batch, height, width, channels] in [0, 1],
        label int32 [batch])`.
    """
    _check_batch_size(batch_size)
    images, labels = _as_tensors(examples)
    total = len(examples)
    static = batch_size if total % batch_size == 0 else None

    def part(start: Tensor) -> tuple[Tensor, Tensor]:
        image = images[start : start + batch_size]
        label = labels[start : start + batch_size]
        image = tf.ensure_shape(image, [static, *examples.images.shape[1:]])
        return _to_unit_range(image), tf.ensure_shape(label, [static])

    batches = tf.data.Dataset.range(0, total, batch_size).map(
        part, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    return _finish(batches, -(-total // batch_size))


def with_index(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Returns `dataset` with the position of each example beside its image.

    Call it before `shuffle` and `batch`, so that an example keeps its index however
    often it is visited. The order of `dataset` has to be the same in every epoch.

    Args:
        dataset: Elements `(image [height, width, channels], label)`, not batched.

    Returns:
        Elements `({"image": image, "index": int64}, label)`.

    Raises:
        UserError: If the elements are others.
    """
    spec = dataset.element_spec
    pair = isinstance(spec, tuple) and len(spec) == 2
    if not pair or not all(isinstance(part, tf.TensorSpec) for part in spec):
        raise UserError(
            "Invalid `dataset`: expected elements (image, label). Received: "
            f"element_spec={spec}"
        )
    if spec[1].shape.rank != 0:
        raise UserError(
            "Invalid `dataset`: expected single examples, each with a whole number as "
            f"its label. Received: labels of shape {spec[1].shape} (call with_index "
            "before batch, and give class numbers instead of one-hot labels)"
        )
    return dataset.enumerate().map(
        lambda index, example: (
            {"image": example[0], "index": index},
            example[1],
        ),
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )


def _index_batches(
    num_examples: int, batch_size: int, seed: int, num_steps: int, start_step: int
) -> tf.data.Dataset:
    steps_per_epoch = num_examples // batch_size
    first_epoch = start_step // steps_per_epoch
    stop_epoch = -(-num_steps // steps_per_epoch)

    def epoch_batches(epoch: Tensor) -> tf.data.Dataset:
        order = tf.random.experimental.stateless_shuffle(
            tf.range(num_examples, dtype=tf.int64),
            noise.fold_in(seed, _ORDER, epoch),
            alg="philox",
        )
        order = order[: steps_per_epoch * batch_size]
        return tf.data.Dataset.from_tensor_slices(
            tf.reshape(order, [steps_per_epoch, batch_size])
        )

    epochs = tf.data.Dataset.range(first_epoch, stop_epoch)
    # Skipped here, where a batch is a few numbers and no image has been touched.
    done = start_step - first_epoch * steps_per_epoch
    return epochs.flat_map(epoch_batches).skip(done).take(num_steps - start_step)


def _as_tensors(examples: Examples) -> tuple[Tensor, Tensor]:
    # tf.data runs on the host: on a GPU the images would be in the wrong memory.
    with tf.device("CPU:0"):
        return tf.constant(examples.images), tf.constant(examples.labels)


def _to_unit_range(images: Tensor) -> Tensor:
    if images.dtype == tf.uint8:
        return tf.cast(images, tf.float32) / np.float32(255)
    return images


def _finish(batches: tf.data.Dataset, num_batches: int) -> tf.data.Dataset:
    batches = batches.apply(tf.data.experimental.assert_cardinality(num_batches))
    options = tf.data.Options()
    # They rewrite the graph, images and all: a second copy, for no speed.
    options.experimental_optimization.apply_default_optimizations = False
    # Its thread looks up ever more rarely, and an iterator that is given up waits for
    # that: a training that is stopped would end up to a minute after it was saved.
    options.autotune.enabled = False
    # There are no files to share out: each worker skips the batches of the others.
    options.experimental_distribute.auto_shard_policy = (
        tf.data.experimental.AutoShardPolicy.DATA
    )
    return batches.with_options(options).prefetch(_PREFETCHED)


def _check_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise UserError(
            "Invalid `--batch_size`: expected at least 1. Received: "
            f"batch_size={batch_size}"
        )
