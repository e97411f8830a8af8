"""Averaged weights, and the statistics of batch normalisation that belong to them."""

import keras
import numpy as np

from mma_tf.training import StandardModel
from mma_tf.training.averaging import averaged_weights
from tests.classifiers import random_examples

MOMENTUM = 0.8


def normalised_network():
    return keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            keras.layers.Conv2D(3, 3, use_bias=False),
            keras.layers.BatchNormalization(momentum=0.5),
            keras.layers.Flatten(),
            keras.layers.Dense(3),
        ]
    )


class Watch(keras.callbacks.Callback):
    """Keeps what `look` returns after each step."""

    def __init__(self, look):
        super().__init__()
        self.look = look
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(self.look())


def make(network, *, use_ema=True):
    model = StandardModel(network)
    model.compile(keras.optimizers.SGD(0.5, use_ema=use_ema, ema_momentum=MOMENTUM))
    return model


def seen_in_training(model, look):
    images, labels = random_examples(np.random.default_rng(0), 24)
    watch = Watch(look)
    model.fit(images, labels, batch_size=4, shuffle=False, verbose=0, callbacks=[watch])
    return watch.seen


def test_statistics_of_batch_normalisation_are_averaged_as_the_weights_are():
    network = normalised_network()
    normalisation = network.layers[1]

    def look():
        return [v.numpy() for v in (*normalisation.weights, network.layers[0].kernel)]

    first, *later = seen_in_training(make(network), look)
    expected = first
    for values in later:
        pairs = zip(expected, values, strict=True)
        expected = [MOMENTUM * old + (1 - MOMENTUM) * new for old, new in pairs]
    # As Keras does with weights, `fit` leaves the averages in the classifier.
    for ours, theirs, last in zip(look(), expected, later[-1], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
        assert np.abs(ours - last).max() > 1e-4


def test_the_averages_are_looked_at_and_taken_out_again():
    network = normalised_network()
    normalisation = network.layers[1]
    model = make(network)
    within, before, after = [], [], []

    def look():
        before.append(normalisation.moving_mean.numpy())
        with averaged_weights(model):
            within.append(normalisation.moving_mean.numpy())
        after.append(normalisation.moving_mean.numpy())

    seen_in_training(model, look)
    np.testing.assert_array_equal(before, after)
    np.testing.assert_array_equal(within[-1], normalisation.moving_mean)
    assert np.any(within[-1] != before[-1])


def test_without_averages_nothing_is_put_in():
    network = normalised_network()
    before = len(network.weights)
    seen = seen_in_training(make(network, use_ema=False), network.get_weights)
    assert len(network.weights) == before
    for last, now in zip(seen[-1], network.get_weights(), strict=True):
        np.testing.assert_array_equal(last, now)
