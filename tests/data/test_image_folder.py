import os
import shutil

import numpy as np
import pytest
import tensorflow as tf

from mma_tf.data import memory
from mma_tf.data.sources import load
from mma_tf.errors import UserError

CLASSES = ("ash", "elm", "oak")


def write_picture(path, *, value, shape=(6, 5, 3)):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros(shape, np.uint8)
    # A grey border, so that grey is a matter of every pixel.
    pixels[1:-1, 1:-1] = value
    encode = tf.io.encode_jpeg if path.suffix == ".jpg" else tf.io.encode_png
    path.write_bytes(encode(pixels).numpy())


@pytest.fixture
def pictures(tmp_path):
    """Writes pictures whose red is their class and whose green is their number."""
    for split, count in (("train", 8), ("test", 3)):
        for label, name in enumerate(CLASSES):
            for number in range(count):
                path = tmp_path / split / name / f"{number}.png"
                write_picture(path, value=[label, number, 200])
    return tmp_path


def test_pictures_keep_their_class(pictures):
    dataset = load("image_folder", source_dir=str(pictures))
    assert dataset.class_names == CLASSES
    assert dataset.image_shape == (6, 5, 3)
    assert dataset.train.images.dtype == np.uint8
    for split, count in ((dataset.train, 8), (dataset.test, 3)):
        red, green, _ = split.images[:, 2, 2].T
        np.testing.assert_array_equal(red, split.labels)
        expected = [(label, number) for label in range(3) for number in range(count)]
        assert sorted(zip(red, green, strict=True)) == expected


def test_the_order_mixes_the_classes(pictures):
    labels = load("image_folder", source_dir=str(pictures)).train.labels
    assert set(labels[:8]) == {0, 1, 2}
    assert labels.tolist() != sorted(labels)


def test_the_order_does_not_depend_on_folder_or_listing(
    pictures, tmp_path, monkeypatch
):
    before = load("image_folder", source_dir=str(pictures))
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for split in ("train", "test"):
        shutil.move(pictures / split, moved / split)
    listdir = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: sorted(listdir(path))[::-1])
    after = load("image_folder", source_dir=str(moved))
    np.testing.assert_array_equal(before.train.images, after.train.images)
    np.testing.assert_array_equal(before.train.labels, after.train.labels)


def test_an_added_picture_leaves_the_order_of_the_others(pictures):
    before = load("image_folder", source_dir=str(pictures)).train.images[:, 2, 2]
    write_picture(pictures / "train/elm/extra.jpg", value=[99, 99, 99])
    after = load("image_folder", source_dir=str(pictures)).train.images[:, 2, 2]
    kept = after[after[:, 2] == 200]
    np.testing.assert_array_equal(before, kept)
    assert len(after) == len(before) + 1


def test_a_folder_beside_the_splits_does_not_shift_the_labels(pictures):
    write_picture(pictures / "val" / "aaa" / "0.png", value=[0, 0, 0])
    dataset = load("image_folder", source_dir=str(pictures))
    assert dataset.class_names == CLASSES
    np.testing.assert_array_equal(
        dataset.train.images[:, 2, 2, 0], dataset.train.labels
    )


def test_splits_can_have_other_names(pictures):
    (pictures / "test").rename(pictures / "held out")
    dataset = load("image_folder", source_dir=str(pictures), test_split="held out")
    assert len(dataset.test) == 9


def test_grey_pictures_have_one_channel(tmp_path):
    for split in ("train", "test"):
        for label, name in enumerate(CLASSES):
            path = tmp_path / split / name / "0.png"
            write_picture(path, value=50 * label, shape=(4, 4, 1))
    dataset = load("image_folder", source_dir=str(tmp_path))
    assert dataset.image_shape == (4, 4, 1)
    np.testing.assert_array_equal(
        dataset.train.images[:, 2, 2, 0], 50 * dataset.train.labels
    )


def test_one_coloured_test_picture_keeps_the_channels(tmp_path):
    for split in ("train", "test"):
        for name in CLASSES:
            write_picture(tmp_path / split / name / "0.png", value=7, shape=(4, 4, 1))
    write_picture(tmp_path / "test/oak/1.png", value=[1, 2, 3], shape=(4, 4, 3))
    assert load("image_folder", source_dir=str(tmp_path)).image_shape == (4, 4, 3)


def failure(pictures, **arguments):
    with pytest.raises(UserError) as caught:
        load("image_folder", source_dir=str(pictures), **arguments)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_no_source_dir():
    with pytest.raises(UserError, match=r"train/<class>/.*add --source_dir=DIR"):
        load("image_folder")


def test_no_such_folder(tmp_path):
    assert "expected an existing folder" in failure(tmp_path / "nowhere")


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_missing_split_is_named(pictures, split):
    shutil.rmtree(pictures / split)
    message = failure(pictures)
    assert f"expected a folder {split}/" in message
    assert f"--{split}_split" in message


def test_a_split_without_class_folders(tmp_path):
    write_picture(tmp_path / "train" / "0.png", value=0)
    assert "a folder for each class in train/" in failure(tmp_path)


def test_a_class_folder_without_pictures(pictures):
    (pictures / "train" / "yew").mkdir()
    assert "train/yew has none" in failure(pictures)


def test_one_class(pictures):
    for split in ("train", "test"):
        for name in CLASSES[1:]:
            shutil.rmtree(pictures / split / name)
    assert "at least two classes" in failure(pictures)


def test_different_classes(pictures):
    (pictures / "test" / "oak").rename(pictures / "test" / "fir")
    message = failure(pictures)
    assert "only in train/: ['oak'], only in test/: ['fir']" in message


def test_two_sizes_name_two_files(pictures):
    write_picture(pictures / "train/elm/5.png", value=1, shape=(6, 7, 3))
    message = failure(pictures)
    assert "6x7x3 for train/elm/5.png" in message
    assert "6x5x3 for train/" in message
    assert "resize" in message


def test_two_sizes_in_different_splits(pictures):
    for path in (pictures / "test").glob("*/*.png"):
        write_picture(path, value=1, shape=(7, 7, 3))
    message = failure(pictures)
    assert "[6, 5, 3]" in message
    assert "[7, 7, 3]" in message


@pytest.mark.parametrize("content", ["text", "cut", "empty", "gif"])
def test_a_picture_that_cannot_be_decoded_is_named(pictures, content):
    path = pictures / "train" / "oak" / "3.png"
    picture = path.read_bytes()
    gif = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff,\x00\x00\x00\x00"
    gif += b"\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"
    contents = {"text": b"hello", "cut": picture[:60], "empty": b"", "gif": gif}
    path.write_bytes(contents[content])
    assert "train/oak/3.png" in failure(pictures)


def test_pictures_that_do_not_fit_into_memory(pictures, monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 2000)
    message = failure(pictures)
    assert "GiB" in message
    assert "image_folder" in message
