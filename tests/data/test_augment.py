import numpy as np
import pytest
import tensorflow as tf

from mma_tf.data import augment
from mma_tf.moves import move


def random_images(dtype=np.uint8, shape=(200, 9, 7, 2)):
    images = np.random.default_rng(0).integers(1, 256, shape)
    return images.astype(np.uint8) if dtype == np.uint8 else np.float32(images / 255)


def augmented(draw_moves, images, seed, **settings):
    return move(tf.constant(images), draw_moves(len(images), seed, **settings))


def crops(image, padding=4):
    """Returns each place of the crop, with the crop."""
    height, width, _ = image.shape
    padded = np.pad(image, [(padding, padding), (padding, padding), (0, 0)])
    return {
        (row, column): padded[row : row + height, column : column + width]
        for row in range(2 * padding + 1)
        for column in range(2 * padding + 1)
    }


def place_of(crop, image):
    (place,) = [at for at, one in crops(image).items() if np.array_equal(one, crop)]
    return place


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_crops_are_of_the_padded_image_and_reach_every_side(dtype):
    images = random_images(dtype)
    out = augmented(augment.pad_crop, images, [1, 2])
    assert out.dtype == images.dtype
    assert out.shape == images.shape
    places = [place_of(*pair) for pair in zip(out.numpy(), images, strict=True)]
    rows, columns = np.array(places).T
    assert set(rows) == set(columns) == set(range(9))
    # A place of its own for each image, and for row and column.
    assert len(set(places)) > 60


@pytest.mark.parametrize("name", ["pad_crop", "pad_crop_mirror"])
def test_an_image_moves_by_no_more_than_the_padding(name):
    images = np.zeros((200, 9, 9, 1), np.float32)
    images[:, 4, 4] = 1
    draw_moves = augment.AUGMENTATIONS[name]
    out = augmented(draw_moves, images, [1, 2], padding=1).numpy()
    reached = {tuple(np.argwhere(one)[0][:2]) for one in out}
    assert reached == {(row, column) for row in (3, 4, 5) for column in (3, 4, 5)}


def test_mirror_turns_about_half_left_to_right():
    images = random_images()
    out = augmented(augment.mirror, images, [1, 2]).numpy()
    mirrored = (out == images[:, :, ::-1]).all(axis=(1, 2, 3))
    same = (out == images).all(axis=(1, 2, 3))
    assert (mirrored ^ same).all()
    assert 70 < mirrored.sum() < 130


def test_crop_and_mirror_are_both_there_and_independent():
    images = random_images()
    out = augmented(augment.pad_crop_mirror, images, [1, 2]).numpy()
    found = {"as is": 0, "mirrored": 0}
    for crop, image in zip(out, images, strict=True):
        places = crops(image).values()
        if any(np.array_equal(crop, one) for one in places):
            found["as is"] += 1
        else:
            assert any(np.array_equal(crop[:, ::-1], one) for one in places)
            found["mirrored"] += 1
    assert min(found.values()) > 70


@pytest.mark.parametrize("name", ["pad_crop", "pad_crop_mirror"])
def test_the_seed_decides(name):
    draw_moves = augment.AUGMENTATIONS[name]
    one = draw_moves(200, [1, 2]).numpy()
    np.testing.assert_array_equal(one, draw_moves(200, [1, 2]))
    assert not np.array_equal(one, draw_moves(200, [1, 3]))
