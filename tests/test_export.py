"""What is exported computes in float32, whatever the training did."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mma_tf import models
from mma_tf.export import SAVED_MODEL, export_classifier
from mma_tf.models.precision import in_float32


def within(classifier):
    """Returns a classifier that has `classifier` for a layer."""
    images = keras.Input(classifier.input_shape[1:], dtype="float32")
    return keras.Model(images, classifier(images))


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("is_nested", [False, True])
def test_a_network_trained_in_half_precision_is_exported_in_float32(
    policy, is_nested, tmp_path
):
    images = np.random.default_rng(0).uniform(size=(5, 8, 8, 1)).astype("float32")
    keras.config.set_dtype_policy(policy)
    classifier = models.small_cnn()
    if is_nested:
        classifier = within(classifier)
    export_classifier(classifier, tmp_path / "best", {})
    keras.config.set_dtype_policy("float32")
    exact = models.small_cnn()
    exact.set_weights(classifier.get_weights())
    loaded = tf.saved_model.load(tmp_path / "best" / SAVED_MODEL)
    found = loaded.serve(images).numpy()
    np.testing.assert_allclose(found, exact(images), rtol=1e-5, atol=1e-6)
    assert np.max(np.abs(found - classifier(images))) > 1e-4


def test_moving_statistics_come_along():
    images = np.random.default_rng(0).uniform(size=(5, 12, 12, 3)).astype("float32")
    keras.config.set_dtype_policy("mixed_bfloat16")
    classifier = models.wide_resnet((12, 12, 3), 4, depth=10, width=1)
    for _ in range(5):
        classifier(images, training=True)
    twin = in_float32(classifier)
    np.testing.assert_allclose(twin(images), classifier(images), atol=0.1)


def test_what_computes_in_float32_is_exported_itself():
    classifier = models.small_cnn()
    assert in_float32(classifier) is classifier
