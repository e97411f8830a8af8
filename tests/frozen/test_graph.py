"""A SavedModel's graph with its variables as constants computes the same."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import mma_tf
from mma_tf.attacks import pgd
from mma_tf.frozen import freeze_function
from mma_tf.load import load_classifier


def gradient_of(function, images):
    with tf.GradientTape() as tape:
        tape.watch(images)
        total = tf.reduce_sum(tf.sin(function(images)))
    return tape.gradient(total, images).numpy()


def some_images(*shape):
    return tf.constant(np.random.default_rng(0).uniform(size=shape).astype("float32"))


def gradients_chosen(frozen, images):
    graph = frozen.get_concrete_function(images).graph
    marked = {}
    for operation in graph.get_operations():
        if "_gradient_op_type" in operation.node_def.attr:
            marked[operation.type] = marked.get(operation.type, 0) + 1
    return marked


def exported(classifier, folder):
    classifier.export(folder, verbose=False)
    return tf.saved_model.load(str(folder))


def several_layers(channels):
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((12, 12, channels)),
            keras.layers.Conv2D(8, 3, strides=2, padding="same"),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.Conv2D(8, 5, padding="valid", activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(16, activation="tanh"),
            keras.layers.Dense(3),
        ]
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_a_saved_model_keeps_its_values_and_gradients(tmp_path, channels):
    model = exported(several_layers(channels), tmp_path / "model")
    images = some_images(7, 12, 12, channels)
    frozen = freeze_function(model.serve, images[:2])
    np.testing.assert_allclose(frozen(images), model.serve(images), atol=1e-5)
    np.testing.assert_allclose(
        gradient_of(frozen, images), gradient_of(model.serve, images), atol=1e-5
    )
    # Of two convolutions the second has too many channels to gain by blocks.
    assert gradients_chosen(frozen, images) == {"Conv2D": 1, "MatMul": 2}


def test_images_of_any_size_are_taken(tmp_path):
    pooled = keras.Sequential(
        [
            keras.Input((None, None, 1)),
            keras.layers.Conv2D(4, 3, padding="same", activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2),
        ]
    )
    model = exported(pooled, tmp_path / "model")
    frozen = freeze_function(model.serve, some_images(2, 9, 9, 1))
    spec = tf.TensorSpec([None, None, None, 1])
    of_any_size = tf.function(
        lambda images: tf.gradients(tf.sin(frozen(images)), images)[0],
        input_signature=[spec],
    )
    images = some_images(3, 11, 6, 1)
    np.testing.assert_allclose(
        of_any_size(images), gradient_of(model.serve, images), atol=1e-6
    )


def test_a_gradient_that_was_chosen_by_the_model_stays():
    @tf.custom_gradient
    def quantised(images):
        return tf.round(images * 8) / 8, lambda upstream: upstream

    kernel = tf.Variable(some_images(3, 3, 1, 2))

    def function(images):
        return tf.reduce_sum(tf.nn.conv2d(quantised(images), kernel, 1, "SAME"), [1, 2])

    images = some_images(2, 6, 6, 1)
    frozen = freeze_function(function, images)
    found = gradient_of(frozen, images)
    assert np.abs(found).max() > 0.1
    np.testing.assert_allclose(found, gradient_of(function, images), atol=1e-6)


def test_a_function_without_gradient_has_none_when_frozen():
    kernel = tf.Variable(some_images(4, 3))
    images = some_images(2, 4)
    frozen = freeze_function(lambda x: tf.stop_gradient(x) @ kernel, images)
    with tf.GradientTape() as tape:
        tape.watch(images)
        outputs = frozen(images)
    assert tape.gradient(outputs, images) is None
    np.testing.assert_allclose(outputs, images @ kernel, atol=1e-6)


def draws_random_numbers(images):
    return images + tf.random.uniform(tf.shape(images))


def counts_calls(images, calls=[]):  # noqa: B006
    if not calls:
        calls.append(tf.Variable(0.0))
    calls[0].assign_add(1.0)
    return images * calls[0]


def runs_python(images):
    return tf.numpy_function(np.square, [images], tf.float32)


def computes_in_half_precision(images):
    return tf.cast(tf.cast(images, tf.bfloat16) * 3, tf.float32)


@pytest.mark.parametrize(
    "function",
    [draws_random_numbers, counts_calls, runs_python, computes_in_half_precision],
)
def test_a_function_that_constants_cannot_replace_is_left_alone(function):
    assert freeze_function(function, some_images(2, 4)) is None


def test_a_loaded_classifier_is_attacked_so_and_judged_as_it_was_saved(tmp_path):
    classifier = mma_tf.models.small_cnn(input_shape=(8, 8, 1))
    classifier.export(tmp_path / "model", verbose=False)
    images = some_images(16, 8, 8, 1)
    labels = tf.argmax(classifier(images), axis=1)
    loaded = load_classifier(tmp_path / "model", images.numpy()[:2]).logits_fn
    assert loaded.freeze() is not loaded
    settings = {"norm": "linf", "eps": 0.1, "num_steps": 5, "step_size": 0.05}
    np.testing.assert_allclose(
        pgd(loaded, images, labels, **settings),
        pgd(classifier, images, labels, **settings),
        atol=1e-6,
    )
