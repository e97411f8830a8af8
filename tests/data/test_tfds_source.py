import pathlib

import numpy as np
import pytest

from mma_tf.data import memory
from mma_tf.data.sources import load
from mma_tf.errors import UserError
from tests.data import tiny_datasets  # noqa: F401  (registers its datasets)

MNIST = pathlib.Path(__file__).parents[3] / "shared" / "data" / "mnist"

needs_mnist = pytest.mark.skipif(
    not MNIST.is_dir(), reason=f"the original files of MNIST are not in {MNIST}"
)


def failure(name, data_dir, **arguments):
    with pytest.raises(UserError) as caught:
        load(name, data_dir=str(data_dir), **arguments)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("mnits", "mnist"),
        ("Cifar_10", "cifar10"),
        ("digit", "digits"),
        ("image_dir", "image_folder"),
    ],
)
def test_an_unknown_dataset_comes_with_near_names(name, near, tmp_path):
    message = failure(name, tmp_path)
    assert f"dataset={name}" in message
    assert near in message.partition("did you mean")[2]


@pytest.mark.parametrize("name", ["", "a b", "../x", "someone:mnist"])
def test_what_is_no_name_is_unknown(name, tmp_path):
    assert f"Received: dataset={name} " in failure(name, tmp_path)


def test_an_unknown_configuration_comes_with_near_ones(tmp_path):
    message = failure("tiny_variants/uint61", tmp_path)
    assert "tiny_variants with one of its configurations" in message
    assert "uint16" in message


def test_a_configuration_of_a_dataset_without_any(tmp_path):
    assert "it has no configurations" in failure("mnist/small", tmp_path)


def test_an_unknown_version(tmp_path):
    assert "mnist with a version" in failure("mnist:0.0.1", tmp_path)


def test_wide_integers_are_scaled_to_the_unit_range(tmp_path):
    dataset = load("tiny_variants/uint16", data_dir=str(tmp_path))
    images = dataset.train.images
    assert images.dtype == np.float32
    expected = [index * 65535 // 8 / 65535 for index in range(8)]
    np.testing.assert_allclose(sorted(images[:, 0, 0, 0]), expected, rtol=1e-6)


def test_floats_stay_as_they_are(tmp_path):
    images = load("tiny_variants/float_in_range", data_dir=str(tmp_path)).train.images
    assert images.dtype == np.float32
    assert sorted(images[:, 0, 0, 0]) == [index / 8 for index in range(8)]


def test_images_of_one_size_that_the_dataset_does_not_state(tmp_path):
    dataset = load("tiny_variants/unknown_size", data_dir=str(tmp_path))
    assert dataset.image_shape == (4, 4, 3)
    assert dataset.train.images.dtype == np.uint8


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("float_out_of_range", r"pixels in [0, 1]"),
        ("hidden_labels", "labels from 0 to 2"),
        ("many_sizes", "5x4x3 for image"),
        ("one_class", "at least two classes"),
        ("one_label", "every training image is of class '1'"),
        ("unsupervised", "images, each with one class"),
    ],
)
def test_a_dataset_that_cannot_be_used_is_refused(kind, message, tmp_path):
    assert message in failure(f"tiny_variants/{kind}", tmp_path)


def test_a_missing_test_split_names_those_there_are(tmp_path):
    message = failure("tiny_variants/no_test", tmp_path)
    assert "train, validation" in message
    assert "name one with --test_split" in message
    dataset = load(
        "tiny_variants/no_test", data_dir=str(tmp_path), test_split="validation"
    )
    assert len(dataset.test) == 4


def test_a_missing_train_split_names_those_there_are(tmp_path):
    message = failure("tiny_variants/no_test", tmp_path, train_split="training")
    assert "`--train_split`" in message
    assert "train, validation" in message


def test_an_empty_part_of_a_split_is_refused(tmp_path):
    message = failure("tiny_variants/uint16", tmp_path, test_split="test[:0]")
    assert "`--test_split`: expected a split with at least one image" in message


def test_parts_of_a_split(tmp_path):
    name, data_dir = "tiny_variants/uint16", str(tmp_path)
    whole = load(name, data_dir=data_dir)
    part = load(
        name, data_dir=data_dir, train_split="train[:50%]", test_split="train[50%:]"
    )
    images = np.concatenate([part.train.images, part.test.images])
    np.testing.assert_array_equal(images, whole.train.images)


def test_a_dataset_that_does_not_fit_says_what_it_needs(tmp_path, monkeypatch):
    load("tiny_variants/uint16", data_dir=str(tmp_path))
    # 12 images of 16 pixels of 4 bytes, twice.
    monkeypatch.setattr(memory, "available_bytes", lambda: 2 * 12 * 16 * 4)
    load("tiny_variants/uint16", data_dir=str(tmp_path))
    monkeypatch.setattr(memory, "available_bytes", lambda: 2 * 12 * 16 * 4 - 1)
    assert "fit into memory" in failure("tiny_variants/uint16", tmp_path)


def test_a_need_of_memory_is_told_in_gib(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 3 * 2**30)
    with pytest.raises(UserError, match=r"needs 4.00 GiB of the 3.00 GiB"):
        memory.require_memory("big", 2**21, (32, 32, 1), 1)


def test_damaged_prepared_files_are_told(tmp_path):
    load("tiny_variants/uint16", data_dir=str(tmp_path))
    (file,) = tmp_path.rglob("*-train.tfrecord*")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 255
    file.write_bytes(content)
    message = failure("tiny_variants/uint16", tmp_path)
    assert "damaged" in message
    assert str(file.parent) in message


@needs_mnist
@pytest.mark.slow
def test_mnist_from_its_original_files(tmp_path):
    dataset = load("mnist", data_dir=str(tmp_path), source_dir=str(MNIST))
    assert (len(dataset.train), len(dataset.test)) == (60000, 10000)
    assert dataset.image_shape == (28, 28, 1)
    assert dataset.train.images.dtype == np.uint8
    assert dataset.train.images.max() == 255
    assert np.bincount(dataset.test.labels).tolist() == [
        *(980, 1135, 1032, 1010, 982),
        *(892, 958, 1028, 974, 1009),
    ]
    # The order that tensorflow-datasets gives them, on every machine.
    assert dataset.train.labels[:10].tolist() == [4, 1, 0, 7, 8, 1, 2, 7, 1, 6]
    again = load("mnist", data_dir=str(tmp_path))
    np.testing.assert_array_equal(dataset.train.images, again.train.images)
    np.testing.assert_array_equal(dataset.test.labels, again.test.labels)


@needs_mnist
def test_a_corrupted_copy_is_named(tmp_path):
    for path in MNIST.iterdir():
        content = bytearray(path.read_bytes())
        if path.name.startswith("t10k-labels"):
            content[100] ^= 1
        (tmp_path / path.name).write_bytes(content)
    message = failure("mnist", tmp_path / "data", source_dir=str(tmp_path))
    assert "t10k-labels-idx1-ubyte.gz, which is another or damaged" in message
