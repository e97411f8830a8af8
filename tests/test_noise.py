"""Random numbers that are a function of the seed, whatever the devices."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from mma_tf.noise import as_seed, fold_in, seeds_of, uniform_each, uniform_like

# Devices can only be split before TensorFlow starts.
TWO_DEVICES = """
import tensorflow as tf
from mma_tf.noise import fold_in, seeds_like, uniform_like

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2
)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
assert strategy.num_replicas_in_sync == 2
seed = fold_in(7, 1)
for shape in ([3, 4, 5, 1], [2, 6], [5]):
    whole = uniform_like(tf.zeros([2 * shape[0], *shape[1:]]), seed)
    unknown = tf.TensorSpec([None, *shape[1:]])
    draw = lambda images: uniform_like(images, seed)
    for step in (tf.function(draw), tf.function(draw, input_signature=[unknown])):
        parts = strategy.run(step, args=(tf.zeros(shape),))
        parts = tf.concat(strategy.experimental_local_results(parts), axis=0)
        assert tf.reduce_all(parts == whole), (parts, whole)
whole = seeds_like(tf.zeros([6]), seed)
parts = strategy.run(tf.function(lambda: seeds_like(tf.zeros([3]), seed)))
parts = tf.concat(strategy.experimental_local_results(parts), axis=0)
assert tf.reduce_all(parts == whole), (parts, whole)
print("equal")
"""


def test_two_devices_draw_the_noise_of_one():
    done = subprocess.run(
        [sys.executable, "-c", TWO_DEVICES], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "equal"


def test_a_draw_is_a_function_of_its_seed_alone():
    images = tf.zeros([4, 3, 3, 1])
    first = uniform_like(images, 5)
    np.testing.assert_array_equal(uniform_like(images, 5), first)
    # The seed as an argument: a constant one would be drawn from before XLA compiles.
    compiled = tf.function(uniform_like, jit_compile=True)
    np.testing.assert_array_equal(compiled(images, tf.constant(5)), first)
    assert np.all(uniform_like(images, 6) != first)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_draws_have_the_images_dtype_and_fill_the_unit_range(dtype):
    draws = uniform_like(tf.zeros([1000, 12], dtype), 0)
    assert draws.dtype == dtype
    assert 0 <= np.min(draws) < 0.01
    assert 0.99 < np.max(draws) < 1


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_compiled_draws_are_the_same_and_below_one(dtype):
    images = tf.zeros([5000, 7], dtype)
    compiled = tf.function(uniform_like, jit_compile=True)
    for seed in (0, 2**40 + 3):
        draws = uniform_like(images, seed)
        again = compiled(images, tf.constant(seed, tf.int64))
        np.testing.assert_array_equal(draws, again)
        assert np.max(draws) < 1
        mean = tf.reduce_mean(tf.cast(draws, tf.float64))
        np.testing.assert_allclose(mean, 0.5, atol=0.01)


def test_an_examples_seed_is_that_of_its_index_alone():
    seeds = seeds_of(7, tf.constant([0, 5, 2**33]))
    assert seeds.shape == [3, 2]
    for seed, index in zip(seeds, (0, 5, 2**33), strict=True):
        np.testing.assert_array_equal(seed, fold_in(7, index))
    np.testing.assert_array_equal(seeds_of(7, tf.constant([5])), seeds[1:2])
    assert np.all(np.any(seeds != seeds_of(8, tf.constant([0, 5, 2**33])), axis=1))


def test_an_examples_draw_does_not_depend_on_its_batch():
    seeds = seeds_of(7, tf.range(5))
    draws = uniform_each([3, 4], seeds, tf.range(5), dtype=tf.float64)
    assert draws.shape == [5, 3, 4]
    assert draws.dtype == tf.float64
    order = [3, 0]
    some = uniform_each(
        [3, 4], tf.gather(seeds, order), tf.constant(order), dtype=tf.float64
    )
    np.testing.assert_array_equal(some, tf.gather(draws, order))
    assert len(np.unique(draws)) == 5 * 12
    # Compiled, and with a batch of unknown size.
    compiled = tf.function(
        lambda seeds, numbers: uniform_each([3, 4], seeds, numbers, dtype=tf.float64),
        input_signature=[
            tf.TensorSpec([None, 2], tf.int64),
            tf.TensorSpec([None], tf.int32),
        ],
        jit_compile=True,
    )
    np.testing.assert_array_equal(compiled(seeds, tf.range(5)), draws)


def test_one_number_for_all_is_that_number_for_each_and_another_draws_anew():
    seeds = seeds_of(1, tf.range(3))
    draws = uniform_each([6], seeds, 4)
    np.testing.assert_array_equal(draws, uniform_each([6], seeds, tf.fill([3], 4)))
    assert np.all(draws != uniform_each([6], seeds, 5))


def test_other_numbers_folded_in_give_other_seeds():
    numbers = [(), (0,), (1,), (0, 0), (0, 1), (1, 0), (2**40,)]
    seeds = {tuple(fold_in(3, *n).numpy()) for n in numbers}
    assert len(seeds) == len(numbers)
    np.testing.assert_array_equal(fold_in(3, 1, 2), fold_in(fold_in(3, 1), 2))


def test_a_seed_is_a_number_or_a_pair():
    np.testing.assert_array_equal(as_seed(9), [0, 9])
    np.testing.assert_array_equal(as_seed(tf.constant([3, 4])), [3, 4])
    with pytest.raises(ValueError, match="seed"):
        as_seed([1, 2, 3])
