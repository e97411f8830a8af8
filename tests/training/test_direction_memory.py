"""The memory of directions: searches that begin where the last ones ended."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mma_tf.moves import move, move_back
from mma_tf.training import MMAModel, mma_model
from tests.classifiers import random_examples, small_network
from tests.training.test_mma_model import indexed, make, sgd
from tests.training.test_partial_search import mixed_batch


@pytest.fixture
def starts(monkeypatch):
    """What each search was told to start at, what it found, and of which images."""
    seen, an_pgd = [], mma_model.an_pgd

    def spy(logits_fn, images, labels, **kwargs):
        points, eps = an_pgd(logits_fn, images, labels, **kwargs)
        found = (kwargs["start_direction"], points - images, eps, images)
        seen.append(tuple(part.numpy() for part in found))
        return points, eps

    monkeypatch.setattr(mma_model, "an_pgd", spy)
    return seen


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_search_starts_in_the_direction_of_the_last_one(norm, starts):
    keras.utils.set_random_seed(0)
    network = small_network()
    images, labels = mixed_batch(network, 12)
    model = make(network, norm=norm, num_examples=12, direction_memory=True)
    model.compile(sgd(0.0), run_eagerly=True)
    model.fit(
        indexed(images, labels, batch_size=12), epochs=2, shuffle=False, verbose=0
    )
    (first, changes, eps, _), (second, *_) = starts
    np.testing.assert_array_equal(first, 0)
    # What is classified wrong was not searched.
    np.testing.assert_array_equal(second[::4], 0)
    right = np.arange(12) % 4 > 0
    lengths = eps[right, None, None, None]
    np.testing.assert_allclose(second[right], changes[right] / lengths, atol=1e-3)


@pytest.mark.parametrize("search_share", [1.0, 0.75])
def test_directions_are_the_images_own_however_they_are_moved(search_share, starts):
    keras.utils.set_random_seed(0)
    network = small_network()
    images, labels = mixed_batch(network, 12)
    model = make(
        network, num_examples=12, direction_memory=True, search_share=search_share
    )
    model.compile(sgd(0.0), run_eagerly=True)
    own = np.zeros_like(images)
    for seed in range(2):
        moves = np.random.default_rng(seed).integers([-1, -1, 0], 2, (12, 3))
        moves = moves.astype(np.int32)
        inputs = {"image": images, "index": np.arange(12), "moves": moves}
        data = tf.data.Dataset.from_tensors((inputs, labels))
        model.fit(data, shuffle=False, verbose=0)
        start, changes, eps, searched = starts[-1]
        same = (searched[:, None] == images).all(axis=(2, 3, 4))
        at = same.argmax(axis=1)
        assert same.any(axis=1).all()
        assert len(set(at)) == len(at) == 12 * search_share
        np.testing.assert_array_equal(start, move(own[at], moves[at]))
        directions = changes / np.maximum(eps, 1e-9)[:, None, None, None]
        directions[at % 4 == 0] = 0
        kept = model.directions.kept.numpy()
        own[at] = move_back(directions, moves[at])
        np.testing.assert_allclose(kept, own, atol=1e-3)
        own = kept.astype(np.float32)
    assert np.any(own, axis=(1, 2, 3)).sum() >= 6


def test_only_the_part_that_was_searched_is_kept():
    keras.utils.set_random_seed(0)
    network = small_network()
    images, labels = mixed_batch(network, 12)
    model = make(network, num_examples=12, direction_memory=True, search_share=0.25)
    model.compile(sgd(0.0))
    data = indexed(images, labels, batch_size=12)
    known = np.zeros(12, bool)
    for _ in range(3):
        before = model.directions.kept.numpy()
        model.fit(data, shuffle=False, verbose=0)
        after = model.directions.kept.numpy()
        changed = np.any(before != after, axis=(1, 2, 3))
        assert np.count_nonzero(changed) <= 3
        known |= changed
    assert np.count_nonzero(known) >= 3


def test_a_weak_attack_finds_more_each_time():
    keras.utils.set_random_seed(0)
    network = small_network()
    images, labels = mixed_batch(network, 40)

    def margins(epochs, **changes):
        model = make(
            network,
            num_examples=40,
            min_eps=0.1,
            attack_steps=1,
            step_size_factor=0.05,
            **changes,
        )
        model.compile(sgd(0.0))
        data = indexed(images, labels, batch_size=40)
        history = model.fit(data, epochs=epochs, shuffle=False, verbose=0).history
        return history["eps"]

    forgetful = margins(12)
    mindful = margins(12, direction_memory=True)
    assert mindful[-1] < 0.9 * mindful[0]
    assert mindful[-1] < 0.9 * min(forgetful)


def test_a_classifier_that_does_not_know_its_input_has_to_be_built_before():
    keras.utils.set_random_seed(0)
    images, labels = random_examples(np.random.default_rng(0), 12)
    data = indexed(images, labels, batch_size=12)

    def model():
        layers = [keras.layers.Flatten(), keras.layers.Dense(3)]
        network = keras.Sequential(layers)
        model = make(network, num_examples=12, direction_memory=True)
        model.compile(sgd(0.1))
        return model

    with pytest.raises(ValueError, match=r"model\.build\("):
        model().fit(data, shuffle=False, verbose=0)
    built = model()
    built.build((None, *images.shape[1:]))
    built.fit(data, epochs=9, shuffle=False, verbose=0)
    assert np.any(built.directions.kept.numpy())


@pytest.mark.parametrize("changes", [{"num_examples": None}, {"margin_memory": False}])
def test_directions_are_kept_with_the_margins_or_not_at_all(changes):
    settings = {"num_examples": 8, "direction_memory": True, **changes}
    with pytest.raises(ValueError, match="memory of margins"):
        MMAModel(small_network(), norm="linf", d_max=0.2, **settings)


def test_a_classifier_of_images_of_any_size_learns_the_size_when_it_is_built():
    keras.utils.set_random_seed(0)
    layers = [
        keras.Input((None, None, 1)),
        keras.layers.Conv2D(8, 3, activation="relu"),
        keras.layers.GlobalMaxPooling2D(),
        keras.layers.Dense(3),
    ]
    network = keras.Sequential(layers)
    images, labels = mixed_batch(network, 12)
    model = make(network, num_examples=12, direction_memory=True)
    model.build((None, *images.shape[1:]))
    model.compile(sgd(0.0))
    data = indexed(images, labels, batch_size=12)
    model.fit(data, shuffle=False, verbose=0)
    assert model.directions.kept.shape == images.shape
    assert np.any(model.directions.kept.numpy())
