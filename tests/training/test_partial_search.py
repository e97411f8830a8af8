"""Searching a part of the batch: who is chosen, and that the objective stays."""

import functools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from mma_tf.training import mma_model
from mma_tf.training.mma_objective import mma_objective
from mma_tf.training.partial_search import Part, choose_part
from mma_tf.training.robust_model import Batch
from tests.classifiers import random_examples, small_network
from tests.training.test_mma_model import indexed, make, sgd

# Five were last seen below d_max, nine beyond, two are classified wrong.
CORRECT = np.array([True] * 14 + [False] * 2)
REACHED = np.array([False] * 5 + [True] * 9 + [False, True])


def choose(share, seed):
    part = choose_part(
        correct=tf.constant(CORRECT),
        reached=tf.constant(REACHED),
        share=share,
        seed=seed,
    )
    return part.chosen.numpy(), part.weights.numpy()


@pytest.mark.parametrize(("share", "size"), [(0.01, 1), (0.25, 4), (0.5, 8), (0.9, 15)])
def test_short_margins_come_first_then_the_others_and_wrong_ones_last(share, size):
    for seed in range(20):
        chosen, weights = choose(share, seed)
        assert len(set(chosen)) == len(chosen) == size
        below = np.count_nonzero(chosen < 5)
        assert below == min(size, 5)
        assert np.count_nonzero((chosen >= 5) & (chosen < 14)) == min(size - below, 9)
        assert np.all((weights > 0) == CORRECT[chosen])


@pytest.mark.parametrize("share", [0.4, 0.5, 1.0])
def test_a_weighted_sum_over_the_part_has_the_mean_of_the_whole_sum(share):
    values = np.random.default_rng(0).normal(size=16)
    sums = []
    for seed in range(600):
        chosen, weights = choose(share, seed)
        sums.append(np.sum(weights * values[chosen]))
    wanted = np.sum(values[CORRECT])
    error = np.std(sums) / math.sqrt(len(sums))
    np.testing.assert_allclose(np.mean(sums), wanted, atol=4 * error + 1e-5)


def test_every_one_of_a_group_is_chosen_as_often():
    counts = np.zeros(16)
    for seed in range(900):
        counts[choose(0.5, seed)[0]] += 1
    np.testing.assert_array_equal(counts[:5], 900)
    np.testing.assert_allclose(counts[5:14], 300, atol=60)
    np.testing.assert_array_equal(counts[14:], 0)


def test_a_batch_of_unknown_size_has_the_same_part():
    @tf.function(input_signature=[tf.TensorSpec([None], tf.bool)] * 2)
    def chosen(correct, reached):
        return choose_part(correct=correct, reached=reached, share=0.3, seed=1)

    for found, known in zip(chosen(CORRECT, REACHED), choose(0.3, 1), strict=True):
        np.testing.assert_array_equal(found, known)


def test_the_part_that_is_all_has_the_objective_of_all():
    rng = np.random.default_rng(0)
    order = rng.permutation(16)
    clean, mixed = rng.normal(size=(2, 16, 3)).astype("float32")
    # The images themselves, where they are classified wrong.
    mixed[~CORRECT] = clean[~CORRECT]
    objective = functools.partial(
        mma_objective,
        labels=tf.constant(rng.integers(3, size=16)),
        clean_logits=tf.constant(clean),
        correct=tf.constant(CORRECT),
        eps=tf.constant(rng.uniform(0.1, 0.4, size=16)),
        d_max=0.3,
        clean_loss_coeff=0.3,
    )
    part = Part(tf.constant(order, tf.int32), tf.ones(16))
    np.testing.assert_allclose(
        objective(mixed_logits=tf.constant(mixed[order]), part=part),
        objective(mixed_logits=tf.constant(mixed)),
        rtol=1e-6,
    )


def mixed_batch(network, num_examples):
    """Returns a batch of which one image in four is classified wrong."""
    images, _ = random_examples(np.random.default_rng(0), num_examples)
    labels = np.argmax(network(images), axis=1)
    labels[::4] = (labels[::4] + 1) % 3
    return images, labels


def endless(images, labels):
    """Returns batches of all examples, whose size is known."""
    data = indexed(images, labels, batch_size=len(images))
    return data.unbatch().batch(len(images), drop_remainder=True).repeat()


def test_the_loss_has_the_mean_of_that_of_a_search_of_all(monkeypatch):
    an_pgd = mma_model.an_pgd
    # So that an example's boundary point does not depend on its place in the batch.
    monkeypatch.setattr(
        mma_model, "an_pgd", functools.partial(an_pgd, random_start=False)
    )
    keras.utils.set_random_seed(3)
    network = small_network()
    images, labels = mixed_batch(network, 24)

    def losses(seeds, **changes):
        model = make(network, num_examples=24, **changes)
        # Some are remembered to be beyond d_max, of which not all still are.
        lengths = np.random.default_rng(1).choice([0.0, 0.1, 0.21], size=24)
        model.memory.kept.assign(lengths)

        @tf.function
        def loss(seed):
            with tf.GradientTape() as tape:
                batch = Batch(tf.constant(images), labels, tf.range(24), seed)
                return tf.reduce_mean(model.objective(batch, tape).loss)

        return [loss(tf.constant([0, seed])).numpy() for seed in range(seeds)]

    (whole,) = losses(1)
    parts = losses(200, search_share=0.5)
    assert np.std(parts) > 0
    error = np.std(parts) / math.sqrt(len(parts))
    np.testing.assert_allclose(np.mean(parts), whole, atol=4 * error)


def test_only_the_part_is_searched_and_the_others_keep_their_lengths(monkeypatch):
    searched, an_pgd = [], mma_model.an_pgd

    def spy(logits_fn, images, *args, **kwargs):
        searched.append(images.shape)
        return an_pgd(logits_fn, images, *args, **kwargs)

    monkeypatch.setattr(mma_model, "an_pgd", spy)
    network = small_network()
    images, labels = mixed_batch(network, 16)
    model = make(network, num_examples=16, search_share=0.25)
    model.memory.kept.assign(np.full(16, 0.15))
    model.compile(sgd(0.0))
    data = endless(images, labels)
    model.fit(data, steps_per_epoch=1, shuffle=False, verbose=0)
    assert {shape[0] for shape in searched} == {4}
    kept = model.memory.kept.numpy()
    np.testing.assert_array_equal(kept[::4], 0)
    assert np.count_nonzero(kept == np.float32(0.15)) == 8
    end = model.fit(data, epochs=30, steps_per_epoch=1, shuffle=False, verbose=0)
    np.testing.assert_allclose(
        end.history["eps"][-1], model.memory.kept.numpy().mean(), rtol=1e-5
    )
    # In the end each was searched.
    assert not np.any(model.memory.kept.numpy() == np.float32(0.15))


def test_margins_grow_as_they_do_when_all_are_searched():
    images, labels = random_examples(np.random.default_rng(0), 60)
    ends = []
    for share in (1.0, 0.3):
        keras.utils.set_random_seed(1)
        model = make(small_network(), num_examples=60, search_share=share)
        model.compile(keras.optimizers.Adam(0.01))
        data = indexed(images, labels, batch_size=20)
        history = model.fit(data, epochs=40, shuffle=False, verbose=0).history
        assert history["eps"][-1] > history["eps"][5]
        ends.append(history["eps"][-1])
    np.testing.assert_allclose(*ends, rtol=0.1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"search_share": 0.0}, "search_share=0.0"),
        ({"search_share": 1.5}, "search_share=1.5"),
        ({"num_examples": None}, "memory of margins.*search_share=0.5"),
        ({"margin_memory": False}, "memory of margins.*search_share=0.5"),
    ],
)
def test_a_share_that_cannot_be_is_refused(changes, message):
    settings = {"search_share": 0.5, "num_examples": 8, **changes}
    with pytest.raises(ValueError, match=message):
        make(small_network(), **settings)
