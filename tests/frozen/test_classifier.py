"""A classifier at fixed weights computes what the classifier computes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mma_tf.attacks import pgd
from mma_tf.frozen import freeze
from mma_tf.frozen.layers import freeze_layer
from mma_tf.models import build, inference_logits_fn

layers = keras.layers


@keras.saving.register_keras_serializable(package="tests")
class NoisyUnlessToldNotTo(layers.Layer):
    """Adds one where it is not told that this is inference."""

    def call(self, inputs, training=True):
        return inputs + 1.0 if training else inputs


class Within(layers.Layer):
    """Has layers of its own, and does not speak of training."""

    def __init__(self):
        super().__init__()
        self.noise = NoisyUnlessToldNotTo()
        self.dense = layers.Dense(5)

    def call(self, inputs):
        return self.dense(self.noise(inputs))


class Doubled(layers.Conv2D):
    """A convolution that is more than one."""

    def call(self, inputs):
        return 2 * super().call(inputs)


class Subclassed(keras.Model):
    """A model without a graph."""

    def __init__(self):
        super().__init__()
        self.features = layers.Conv2D(4, 3)
        self.noise = NoisyUnlessToldNotTo()
        self.logits = layers.Dense(3)

    def call(self, inputs):
        x = self.noise(self.features(inputs))
        return self.logits(layers.Flatten()(x))


class Negative(keras.Model):
    """A functional model that computes more than its graph says."""

    def call(self, inputs, training=None):
        return -super().call(inputs, training=training)


def functional(*parts, kind=keras.Model):
    inputs = keras.Input((8, 8, 1))
    x = inputs
    for part in parts:
        x = part(x)
    return kind(inputs, layers.Dense(3)(layers.Flatten()(x)))


def with_lora():
    dense = layers.Dense(6)
    model = functional(dense)
    dense.enable_lora(2, b_initializer="normal")
    return model


def nested():
    inner = keras.Sequential([layers.Conv2D(3, 3), layers.ReLU(), layers.Dropout(0.5)])
    branch = keras.Input((8, 8, 1))
    both = layers.Concatenate()([inner(branch), layers.Conv2D(2, 3)(branch)])
    return functional(keras.Model(branch, both))


def shared():
    convolution = layers.Conv2D(1, 3, padding="same")
    return functional(convolution, convolution)


def with_operations():
    return functional(
        lambda x: keras.ops.sin(x) + layers.Conv2D(1, 3, padding="same")(x)
    )


MODELS = {
    "lenet5": lambda: build("lenet5", input_shape=(28, 28, 1), num_classes=10),
    "small_cnn": lambda: build("small_cnn", input_shape=(8, 8, 1), num_classes=10),
    "wide_resnet": lambda: build(
        "wide_resnet", input_shape=(8, 8, 3), num_classes=10, depth=10, width=1
    ),
    "sequential": lambda: keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(4, 3, strides=2, activation="gelu"),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dense(3, use_bias=False),
        ]
    ),
    "nested": nested,
    "shared": shared,
    "operations": with_operations,
    "within": lambda: functional(Within(), NoisyUnlessToldNotTo()),
    "normalised": lambda: functional(
        layers.Conv2D(4, 3, use_bias=False),
        layers.BatchNormalization(center=False),
        layers.ReLU(),
        layers.BatchNormalization(scale=False),
        layers.Permute((3, 1, 2)),
        layers.BatchNormalization(axis=1),
    ),
    "told to train": lambda: functional(
        lambda x: NoisyUnlessToldNotTo()(x, training=True), layers.Conv2D(2, 3)
    ),
    "pooled": lambda: functional(
        layers.MaxPooling2D(),
        layers.MaxPooling2D(2, strides=1),
        layers.MaxPooling2D(),
    ),
    "lora": with_lora,
    "convolutions": lambda: functional(
        Doubled(4, 3),
        layers.Conv2D(4, 3, dilation_rate=2, padding="same"),
        layers.Conv2D(4, 3, strides=(1, 2), padding="same"),
        layers.DepthwiseConv2D(2),
    ),
    "subclassed": Subclassed,
    "negative": lambda: functional(layers.Conv2D(4, 3), kind=Negative),
}


def with_random_weights(model, shape):
    """Gives all weights, moving statistics too, values that are not the first ones."""
    model(np.zeros((1, *shape), np.float32))
    rng = np.random.default_rng(0)
    for weight in model.weights:
        value = rng.normal(0, 0.3, weight.shape)
        weight.assign(np.abs(value) + 0.1 if "variance" in weight.path else value)
    return model


def logits_and_gradients(logits_fn, images):
    @tf.function
    def compute(images):
        with tf.GradientTape() as tape:
            tape.watch(images)
            logits = logits_fn(images)
            total = tf.reduce_sum(tf.sin(tf.cast(logits, tf.float64)))
        return logits, tape.gradient(total, images)

    return [values.numpy() for values in compute(images)]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    ("policy", "tolerance"), [("float64", 1e-10), ("float32", 2e-4)]
)
def test_logits_and_input_gradients_are_the_classifiers(name, policy, tolerance):
    keras.config.set_dtype_policy(policy)
    model = MODELS[name]()
    shape = getattr(model, "input_shape", None) or (None, 8, 8, 1)
    model = with_random_weights(model, shape[1:])
    images = np.random.default_rng(1).uniform(size=(3, *shape[1:]))
    images = tf.constant(images, policy)
    found = logits_and_gradients(freeze(model), images)
    expected = logits_and_gradients(lambda x: model(x, training=False), images)
    for ours, keras_own in zip(found, expected, strict=True):
        largest = np.abs(keras_own).max()
        np.testing.assert_allclose(ours, keras_own, rtol=0, atol=tolerance * largest)


def test_half_precision_logits_are_the_classifiers():
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = with_random_weights(MODELS["lenet5"](), (28, 28, 1))
    images = tf.random.stateless_uniform([4, 28, 28, 1], [0, 1])
    logits_fn = inference_logits_fn(model)
    frozen = logits_fn.freeze()(images)
    assert frozen.dtype == tf.float32
    scale = np.abs(logits_fn(images)).max()
    np.testing.assert_allclose(frozen / scale, logits_fn(images) / scale, atol=0.02)


def test_layers_that_compute_more_than_keras_own_are_called_themselves():
    model = functional(Doubled(4, 3))
    doubled = next(layer for layer in model.layers if isinstance(layer, Doubled))
    assert freeze_layer(doubled) is None
    assert freeze_layer(model.layers[-1]) is not None


def test_frozen_logits_are_those_of_the_weights_of_then():
    model = functional(layers.Conv2D(4, 3))
    images = tf.random.stateless_uniform([2, 8, 8, 1], [0, 1])
    logits_fn = inference_logits_fn(model)
    frozen, before = logits_fn.freeze(), logits_fn(images)
    for weight in model.weights:
        weight.assign(2 * weight + 1)
    np.testing.assert_allclose(frozen(images), before, rtol=1e-5)
    assert np.abs(logits_fn(images) - before).max() > 0.1
    np.testing.assert_allclose(logits_fn.freeze()(images), logits_fn(images), rtol=1e-4)


def test_a_compiled_attack_sees_the_weights_of_each_call():
    model = functional(layers.Conv2D(4, 3))
    images = tf.random.stateless_uniform([4, 8, 8, 1], [0, 1])
    labels = tf.argmax(model(images), axis=-1)
    logits_fn = inference_logits_fn(model)

    @tf.function
    def attack(logits_fn):
        return pgd(
            logits_fn,
            images,
            labels,
            norm="l2",
            eps=0.5,
            num_steps=3,
            step_size=0.2,
            random_start=False,
        )

    before = attack(logits_fn)
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(rng.normal(size=weight.shape))
    after = attack(logits_fn)
    plain = attack(lambda images: model(images, training=False))
    assert np.abs(after - before).max() > 1e-3
    np.testing.assert_allclose(after, plain, atol=1e-5)
