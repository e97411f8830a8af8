import numpy as np
import pytest
import tensorflow as tf

from mma_tf.moves import move, move_back

MOVES = np.int32([[0, 0, 0], [1, 0, 0], [0, -2, 0], [0, 0, 1], [-1, 1, 1], [9, 0, 0]])


def random_images(dtype=np.uint8):
    images = np.random.default_rng(0).integers(1, 256, (len(MOVES), 6, 5, 2))
    return images.astype(np.uint8) if dtype == np.uint8 else np.float32(images / 255)


def moved_by_hand(image, up, left, mirrored):
    height, width, _ = image.shape
    out = np.zeros_like(image)
    for row in range(height):
        for column in range(width):
            at = row + up, column + left
            if 0 <= at[0] < height and 0 <= at[1] < width:
                out[row, column] = image[at]
    return out[:, ::-1] if mirrored else out


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_each_image_has_a_move_of_its_own(dtype):
    images = random_images(dtype)
    moved = move(tf.constant(images), tf.constant(MOVES))
    assert moved.dtype == images.dtype
    for one, image, by in zip(moved.numpy(), images, MOVES, strict=True):
        np.testing.assert_array_equal(one, moved_by_hand(image, *by))


def test_moved_back_all_is_as_it_was_but_what_had_left_the_image():
    images, moves = tf.constant(random_images()), tf.constant(MOVES)
    stayed = move_back(move(tf.ones_like(images), moves), moves)
    assert stayed.numpy().mean(axis=(1, 2, 3)).tolist() == pytest.approx(
        [1, 5 / 6, 3 / 5, 1, 5 / 6 * 4 / 5, 0]
    )
    back = move_back(move(images, moves), moves)
    np.testing.assert_array_equal(back, images * stayed)
    # The zeros of the border come back as zeros, too: nothing was known there.
    again = move(move_back(images, moves), moves)
    there = move(move_back(tf.ones_like(images), moves), moves)
    np.testing.assert_array_equal(again, images * there)


@pytest.mark.parametrize("function", [move, move_back])
def test_shapes_stay_static_in_a_graph(function):
    images = tf.TensorSpec([3, 8, 8, 3], tf.uint8)
    moves = tf.TensorSpec([3, 3], tf.int32)
    graph = tf.function(function).get_concrete_function(images, moves)
    assert graph.structured_outputs.shape == [3, 8, 8, 3]


@pytest.mark.parametrize("function", [move, move_back])
def test_any_number_of_images_will_do(function):
    images, moves = random_images(), MOVES
    specs = tf.TensorSpec([None, 6, 5, 2], tf.uint8), tf.TensorSpec([None, 3], tf.int32)
    graph = tf.function(function, input_signature=specs)
    np.testing.assert_array_equal(
        graph(images[:4], moves[:4]), function(images, moves)[:4]
    )
