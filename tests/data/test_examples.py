import numpy as np
import pytest

from mma_tf.data.examples import Examples, ImageDataset
from mma_tf.errors import UserError


def examples(labels, *, shape=(4, 4, 1)):
    images = np.arange(len(labels), dtype=np.uint8).reshape(-1, 1, 1, 1)
    return Examples(
        np.broadcast_to(images, (len(labels), *shape)), np.array(labels, np.int32)
    )


def dataset(train=(0, 1, 2), test=(0,), *, names=("a", "b", "c"), test_shape=(4, 4, 1)):
    return ImageDataset(
        "toy", examples(train), examples(test, shape=test_shape), tuple(names)
    )


def test_take_keeps_images_and_labels_together():
    part = examples([5, 6, 7, 8]).take(1, 3)
    assert len(part) == 2
    assert part.labels.tolist() == [6, 7]
    assert part.images[:, 0, 0, 0].tolist() == [1, 2]


def test_shape_and_number_of_classes_are_read_off():
    assert dataset().image_shape == (4, 4, 1)
    assert dataset().num_classes == 3


def test_validation_is_the_first_of_train_and_the_rest_remains():
    train, validation = dataset(train=[0, 1, 2, 0, 1]).hold_out(2)
    assert validation.images[:, 0, 0, 0].tolist() == [0, 1]
    assert train.images[:, 0, 0, 0].tolist() == [2, 3, 4]


def test_nothing_held_out_leaves_train_whole():
    train, validation = dataset().hold_out(0)
    assert (len(train), len(validation)) == (3, 0)


@pytest.mark.parametrize("size", [-1, 3, 4])
def test_validation_must_leave_something_to_train_on(size):
    with pytest.raises(UserError, match=rf"0 to 2, .*validation_size={size}"):
        dataset().hold_out(size)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros([2, 4, 4, 1], np.float64), "uint8 or float32.*dtype=float64"),
        (np.zeros([2, 4, 4], np.uint8), r"\[n, height, width, channels\].*\[2, 4, 4\]"),
        (np.full([2, 4, 4, 1], 255, np.float32), r"pixels in \[255, 255\].*1/255"),
        (np.full([2, 4, 4, 1], -0.1, np.float32), r"in \[0, 1\]"),
        (np.full([2, 4, 4, 1], np.nan, np.float32), r"in \[0, 1\]"),
    ],
)
def test_bad_images_are_refused(images, message):
    with pytest.raises(UserError, match=message):
        Examples(images, np.zeros(2, np.int32))


@pytest.mark.parametrize("labels", [np.zeros(2, np.int64), np.zeros(3, np.int32)])
def test_bad_labels_are_refused(labels):
    with pytest.raises(UserError, match=r"int32 of shape \[2\]"):
        Examples(np.zeros([2, 4, 4, 1], np.uint8), labels)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": ["a"], "train": [0, 0]}, r"at least two classes.*\['a'\]"),
        ({"train": [1, 1, 1]}, "every training image is of class 'b'"),
        ({"train": []}, "empty training split"),
        ({"test": []}, "empty test split"),
        ({"train": [0, 3]}, "labels from 0 to 2.*training labels from 0 to 3"),
        ({"test": [-1, 0]}, "labels from 0 to 2.*test labels from -1 to 0"),
        ({"test_shape": (5, 4, 1)}, r"one size.*\[4, 4, 1\].*\[5, 4, 1\]"),
    ],
)
def test_a_dataset_that_cannot_be_used_is_refused(change, message):
    with pytest.raises(UserError, match=message):
        dataset(**change)
