import numpy as np
import pytest
from sklearn.datasets import load_digits

from mma_tf.data.sources import load
from mma_tf.errors import UserError


@pytest.fixture(scope="module")
def digits():
    return load("digits")


def test_the_split_is_a_cut_of_the_original_order(digits):
    original = load_digits()
    images = np.concatenate([digits.train.images, digits.test.images])
    labels = np.concatenate([digits.train.labels, digits.test.labels])
    assert (len(digits.train), len(digits.test)) == (1437, 360)
    np.testing.assert_array_equal(images[..., 0] * 16, original.images)
    np.testing.assert_array_equal(labels, original.target)


def test_images_fill_the_unit_range(digits):
    assert digits.image_shape == (8, 8, 1)
    assert digits.train.images.dtype == np.float32
    assert (digits.train.images.min(), digits.train.images.max()) == (0, 1)


def test_both_splits_have_every_class(digits):
    assert digits.class_names == tuple("0123456789")
    for split in (digits.train, digits.test):
        assert np.bincount(split.labels).min() > 30


def test_an_unknown_split_is_refused():
    with pytest.raises(UserError, match=r"--test_split.*train or test.*=validation"):
        load("digits", test_split="validation")
