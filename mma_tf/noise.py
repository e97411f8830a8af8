"""Stateless random numbers that do not depend on the number of devices.

Every draw is a function of its seed alone, so that the same seed gives the same run and
a resumed run needs no saved generator state.
"""

from collections.abc import Sequence

import tensorflow as tf

from mma_tf.types import Seed, Tensor

# Named, since the automatic choice differs between devices and under XLA.
_ALGORITHM = "philox"
# So many bits make a number below 1 that its type can hold.
_MANTISSA_BITS = {tf.float16: 11, tf.bfloat16: 8, tf.float32: 23, tf.float64: 53}


def as_seed(seed: Seed) -> Tensor:
    """Returns a whole number or `[2]` integers as a `[2]` int64 tensor.

    Raises:
        ValueError: If `seed` has another shape.
    """
    seed = tf.cast(tf.convert_to_tensor(seed), tf.int64)
    if seed.shape.rank == 0:
        return tf.stack([tf.zeros([], tf.int64), seed])
    if seed.shape != [2]:
        raise ValueError(
            "Invalid `seed`: expected a whole number or shape [2]. "
            f"Received: shape={seed.shape}"
        )
    return seed


def fold_in(seed: Seed, *numbers: Tensor | int) -> Tensor:
    """Returns a new seed `[2]` for each different sequence of whole `numbers`."""
    seed = as_seed(seed)
    for number in numbers:
        seed = tf.random.experimental.stateless_fold_in(
            seed, tf.cast(number, tf.int64), alg=_ALGORITHM
        )
    return seed


def uniform_like(images: Tensor, seed: Seed) -> Tensor:
    """Returns numbers uniform in [0, 1), in the shape and dtype of `images`.

    Inside a replica of a `tf.distribute` strategy this is the replica's own slice of
    the noise for the global batch, so that a step over several devices sees the noise
    that one device would have seen.
    """
    seed = as_seed(seed)
    context = tf.distribute.get_replica_context()
    replicas = context.num_replicas_in_sync if context is not None else 1
    static = images.shape.is_fully_defined()
    shape = images.shape.as_list() if static else tf.shape(images)
    if replicas == 1:
        return _uniform(shape, seed, images.dtype)
    local = shape[0]
    rest = tf.convert_to_tensor(shape[1:], tf.int32)
    everywhere = tf.concat([[local * replicas], rest], axis=0)
    noise = _uniform(everywhere, seed, images.dtype)
    start = _replicas_first(local)
    noise = noise[start : start + local]
    return tf.ensure_shape(noise, images.shape)


def seeds_of(seed: Seed, indices: Tensor) -> Tensor:
    """Returns a seed for each example, `[batch, 2]`: `seed` folded with its index.

    Args:
        seed: A whole number or `[2]` integers.
        indices: `[batch]` whole numbers that name the examples.
    """
    return tf.map_fn(
        lambda index: fold_in(seed, index),
        tf.cast(indices, tf.int64),
        fn_output_signature=tf.TensorSpec([2], tf.int64),
    )


def seeds_like(labels: Tensor, seed: Seed) -> Tensor:
    """Returns a seed for each example of a batch, `[batch, 2]`.

    Inside a replica of a `tf.distribute` strategy these are the replica's own of those
    for the global batch, see `uniform_like`.

    Args:
        labels: `[batch]`, or anything with one entry an example.
        seed: A whole number or `[2]` integers.
    """
    local = tf.shape(labels)[0]
    return seeds_of(seed, _replicas_first(local) + tf.range(local))


def uniform_each(
    shape: Sequence[int],
    seeds: Tensor,
    numbers: Tensor | int = 0,
    *,
    dtype: tf.DType = tf.float32,
) -> Tensor:
    """Returns numbers uniform in [0, 1), `[batch, *shape]`, an own stream an example.

    What an example draws depends on its seed and number alone: not on where in a batch
    it is, nor on how large the batch is.

    Args:
        shape: Of one example's numbers.
        seeds: `[batch, 2]`, see `seeds_of`.
        numbers: Folded into the seeds, a scalar or `[batch]`, a step's number say.
        dtype: Of the result.
    """
    numbers = tf.broadcast_to(tf.cast(numbers, tf.int64), tf.shape(seeds)[:1])
    # stateless_uniform takes one seed for its whole result.
    noise = tf.map_fn(
        lambda each: _uniform(list(shape), fold_in(each[0], each[1]), dtype),
        (seeds, numbers),
        fn_output_signature=tf.TensorSpec(list(shape), dtype),
    )
    return tf.ensure_shape(noise, [seeds.shape[0], *shape])


def _replicas_first(local: Tensor | int) -> Tensor:
    """Returns where in the global batch the replica's `local` examples begin."""
    context = tf.distribute.get_replica_context()
    replica = context.replica_id_in_sync_group if context is not None else 0
    return tf.cast(replica, tf.int32) * local


def _uniform(shape: Tensor, seed: Tensor, dtype: tf.DType) -> Tensor:
    # From bits: XLA makes other floats of them than TensorFlow does.
    drawn, num_bits = (tf.uint64, 64) if dtype == tf.float64 else (tf.uint32, 32)
    bits = tf.random.stateless_uniform(
        shape, seed, minval=None, maxval=None, dtype=drawn, alg=_ALGORITHM
    )
    kept = _MANTISSA_BITS[dtype]
    if dtype == tf.float32:
        # As TensorFlow does on a CPU, so that runs of older versions can be repeated.
        bits = tf.bitwise.bitwise_and(bits, tf.constant(2**kept - 1, drawn))
    else:
        bits = tf.bitwise.right_shift(bits, tf.cast(num_bits - kept, drawn))
    return tf.cast(bits, dtype) * tf.cast(2.0**-kept, dtype)
