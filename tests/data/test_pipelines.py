import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from mma_tf.data.examples import Examples
from mma_tf.data.pipelines import evaluation_batches, training_batches, with_index
from mma_tf.errors import UserError
from mma_tf.moves import move


def numbered(count=10, dtype=np.uint8):
    """Returns examples whose pixels and labels tell their position."""
    images = np.zeros([count, 6, 6, 1], dtype)
    images[:, 3, 3, 0] = np.arange(count) / (1 if dtype == np.uint8 else 255)
    return Examples(images, np.arange(count, dtype=np.int32) % 7)


def batches(**arguments):
    settings = {"batch_size": 3, "seed": 5, "num_steps": 9, **arguments}
    examples = settings.pop("examples", numbered())
    return training_batches(examples, **settings)


def index_of(dataset):
    return [images["index"].tolist() for images, _ in dataset.as_numpy_iterator()]


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_index_image_and_label_belong_together(dtype):
    for images, labels in batches(examples=numbered(dtype=dtype)).as_numpy_iterator():
        position = images["index"]
        np.testing.assert_allclose(images["image"][:, 3, 3, 0] * 255, position, 1e-6)
        np.testing.assert_array_equal(labels, position % 7)


def test_the_elements_are_typed_and_their_shapes_static():
    images, labels = batches().element_spec
    assert images["image"] == tf.TensorSpec([3, 6, 6, 1], tf.float32)
    assert images["index"] == tf.TensorSpec([3], tf.int64)
    assert labels == tf.TensorSpec([3], tf.int32)


def test_white_is_exactly_one():
    examples = Examples(np.full([4, 2, 2, 1], 255, np.uint8), np.zeros(4, np.int32))
    images, _ = next(iter(batches(examples=examples)))
    assert (images["image"].numpy() == 1).all()


def test_an_epoch_visits_each_example_at_most_once_and_drops_the_rest():
    # 10 examples in batches of 3: 3 steps an epoch, one example left over.
    steps = index_of(batches(num_steps=9))
    for epoch in range(3):
        seen = np.concatenate(steps[3 * epoch : 3 * epoch + 3])
        assert len(set(seen)) == 9
        assert set(seen) <= set(range(10))


def test_each_epoch_and_each_seed_has_its_own_order():
    steps = index_of(batches(examples=numbered(60), batch_size=60, num_steps=3))
    assert steps[0] != steps[1] != steps[2]
    assert steps[0] != list(range(60))
    other = index_of(batches(examples=numbered(60), batch_size=60, num_steps=1, seed=6))
    assert other[0] != steps[0]


def test_all_examples_come_with_equal_frequency():
    # 200 epochs of one step with 5 of 10 examples: each comes 100 times, give or take.
    steps = index_of(batches(batch_size=5, num_steps=400))
    counts = np.bincount(np.concatenate(steps[::2]), minlength=10)
    assert counts.min() > 65
    assert counts.max() < 135


@pytest.mark.parametrize("augmentation", ["none", "pad_crop_mirror"])
@pytest.mark.parametrize("start_step", [1, 3, 4, 8, 9])
def test_a_resumed_run_sees_what_an_uninterrupted_one_would_have(
    start_step, augmentation
):
    whole = list(batches(augmentation=augmentation).as_numpy_iterator())
    rest = batches(augmentation=augmentation, start_step=start_step)
    rest = list(rest.as_numpy_iterator())
    assert len(rest) == 9 - start_step
    for (images, labels), (expected, expected_labels) in zip(
        rest, whole[start_step:], strict=True
    ):
        np.testing.assert_array_equal(images["index"], expected["index"])
        np.testing.assert_array_equal(images["image"], expected["image"])
        np.testing.assert_array_equal(labels, expected_labels)


def test_a_longer_run_begins_like_a_shorter_one():
    assert index_of(batches(num_steps=20))[:9] == index_of(batches(num_steps=9))


def test_iterating_twice_gives_the_same():
    dataset = batches(augmentation="pad_crop")
    once, twice = (list(dataset.as_numpy_iterator()) for _ in range(2))
    for (one, _), (two, _) in zip(once, twice, strict=True):
        np.testing.assert_array_equal(one["image"], two["image"])


def test_augmentation_changes_the_images_anew_at_each_step():
    # One example, so that all that differs is the augmentation.
    examples = numbered(1)
    examples.images[:] = np.arange(36).reshape(6, 6, 1)
    steps = batches(
        examples=examples, batch_size=1, num_steps=8, augmentation="pad_crop"
    )
    different = {images["image"].tobytes() for images, _ in steps.as_numpy_iterator()}
    assert len(different) > 5


def test_augmentation_has_the_padding_that_was_asked_for():
    examples = numbered(1)
    examples.images[:] = np.arange(36).reshape(6, 6, 1)

    def moved(padding):
        steps = batches(
            examples=examples,
            batch_size=1,
            num_steps=8,
            augmentation="pad_crop",
            augmentation_pad=padding,
        )
        return {images["image"].tobytes() for images, _ in steps.as_numpy_iterator()}

    assert len(moved(0)) == 1
    assert 1 < len(moved(1)) <= 9


def test_augmented_images_tell_how_they_were_moved():
    examples = numbered(10)
    examples.images[:] = np.arange(360).reshape(10, 6, 6, 1) % 256
    steps = batches(examples=examples, augmentation="pad_crop_mirror")
    for inputs, _ in steps.as_numpy_iterator():
        own = tf.constant(examples.images[inputs["index"]])
        moved = move(own, inputs["moves"]).numpy() / np.float32(255)
        np.testing.assert_array_equal(inputs["image"], moved)


def test_without_augmentation_images_are_as_they_are():
    examples = numbered(10)
    examples.images[:] = np.arange(360).reshape(10, 6, 6, 1) % 256
    for inputs, _ in batches(examples=examples).as_numpy_iterator():
        own = examples.images[inputs["index"]] / np.float32(255)
        np.testing.assert_array_equal(inputs["image"], own)
        assert "moves" not in inputs


def test_augmented_batches_have_static_shapes():
    inputs, _ = batches(augmentation="pad_crop_mirror").element_spec
    assert inputs["image"] == tf.TensorSpec([3, 6, 6, 1], tf.float32)
    assert inputs["moves"] == tf.TensorSpec([3, 3], tf.int32)


def test_augmentation_leaves_order_and_labels():
    plain = index_of(batches())
    assert index_of(batches(augmentation="pad_crop_mirror")) == plain


@pytest.mark.parametrize(("start_step", "left"), [(0, 9), (4, 5), (9, 0)])
def test_the_number_of_steps_is_known(start_step, left):
    dataset = batches(start_step=start_step)
    assert dataset.cardinality().numpy() == left
    assert len(list(dataset)) == left


def test_no_thread_of_an_iterator_outlasts_a_training():
    # tf.data's autotuning sleeps for up to a minute, and the end of the program waits.
    for dataset in (batches(), evaluation_batches(numbered(), batch_size=4)):
        assert dataset.options().autotune.enabled is False


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 11}, "`--batch_size`: expected at most 10.*batch_size=11"),
        ({"batch_size": 0}, "`--batch_size`: expected at least 1"),
        ({"augmentation": "blur"}, "none, pad_crop, pad_crop_mirror.*blur"),
        ({"start_step": 10}, "start_step=10, num_steps=9"),
        ({"start_step": -1}, "start_step=-1"),
    ],
)
def test_bad_arguments_are_refused(change, message):
    with pytest.raises(UserError, match=message):
        batches(**change)


def test_evaluation_gives_every_example_once_in_order():
    found = list(evaluation_batches(numbered(), batch_size=4).as_numpy_iterator())
    assert [len(labels) for _, labels in found] == [4, 4, 2]
    pixels = np.concatenate([images[:, 3, 3, 0] for images, _ in found])
    np.testing.assert_allclose(pixels * 255, np.arange(10), 1e-6)
    labels = np.concatenate([labels for _, labels in found])
    assert labels.tolist() == [0, 1, 2, 3, 4, 5, 6, 0, 1, 2]


def test_evaluation_batches_are_typed_and_counted():
    whole, uneven = (evaluation_batches(numbered(), batch_size=n) for n in (5, 4))
    assert whole.cardinality().numpy() == 2
    assert uneven.cardinality().numpy() == 3
    assert whole.element_spec == (
        tf.TensorSpec([5, 6, 6, 1], tf.float32),
        tf.TensorSpec([5], tf.int32),
    )
    assert uneven.element_spec[0] == tf.TensorSpec([None, 6, 6, 1], tf.float32)


def test_evaluation_of_nothing_is_empty():
    assert len(list(evaluation_batches(numbered(0), batch_size=4))) == 0


def pairs(count=6):
    images = np.arange(count, dtype=np.float32).reshape(count, 1, 1, 1) / 10
    return tf.data.Dataset.from_tensor_slices((images, np.arange(count) % 2))


def test_with_index_survives_shuffling():
    dataset = with_index(pairs()).shuffle(6, seed=0).batch(2)
    found = []
    for images, labels in dataset.as_numpy_iterator():
        np.testing.assert_allclose(images["image"][:, 0, 0, 0] * 10, images["index"])
        np.testing.assert_array_equal(labels, images["index"] % 2)
        assert images["index"].dtype == np.int64
        found += images["index"].tolist()
    assert sorted(found) == list(range(6))


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (pairs().batch(2), "call with_index before batch"),
        (pairs().map(lambda image, label: (image, tf.one_hot(label, 2))), "one-hot"),
        (pairs().map(lambda image, label: image), r"\(image, label\)"),
        (with_index(pairs()), r"\(image, label\)"),
    ],
)
def test_with_index_refuses_other_elements(dataset, message):
    with pytest.raises(UserError, match=message):
        with_index(dataset)


TWO_DEVICES = """
import numpy as np
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2
)
from mma_tf.data.examples import Examples
from mma_tf.data.pipelines import evaluation_batches, training_batches

rng = np.random.default_rng(0)
images = rng.integers(0, 256, [10, 6, 6, 1], np.uint8)
examples = Examples(images, np.arange(10, dtype=np.int32))
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
make = lambda: training_batches(
    examples, batch_size=4, seed=1, num_steps=5, augmentation="pad_crop_mirror"
)
spread = strategy.experimental_distribute_dataset(make())
steps = 0
for (image, label), (expected, expected_label) in zip(spread, make(), strict=True):
    for name in ("image", "index"):
        parts = strategy.experimental_local_results(image[name])
        assert [len(part) for part in parts] == [2, 2]
        np.testing.assert_array_equal(tf.concat(parts, 0), expected[name])
    label = tf.concat(strategy.experimental_local_results(label), 0)
    np.testing.assert_array_equal(label, expected_label)
    steps += 1
evaluation = evaluation_batches(examples, batch_size=4)
labels = [
    part.numpy()
    for _, label in strategy.experimental_distribute_dataset(evaluation)
    for part in strategy.experimental_local_results(label)
]
assert np.concatenate(labels).tolist() == list(range(10)), labels
print("steps:", steps)
"""


def test_two_devices_share_the_batches_of_one():
    result = subprocess.run(
        [sys.executable, "-c", TWO_DEVICES], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "steps: 5" in result.stdout
