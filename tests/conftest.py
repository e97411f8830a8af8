"""What every test gets."""

import gc
import os

import pytest

from mma_tf.cli import quiet

# TensorFlow's start-up notes are not this suite's; its workers would print them.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
quiet.import_tensorflow()

import keras  # noqa: E402


@pytest.fixture(autouse=True)
def clean_keras_state():
    """Undoes what a test did to Keras' global settings."""
    policy = keras.config.dtype_policy()
    keras.utils.set_random_seed(0)
    yield
    keras.config.set_dtype_policy(policy)
    keras.backend.clear_session()


def pytest_collection_finish():
    # Keras' clear_session collects garbage; what TensorFlow's modules hold is none.
    gc.collect()
    gc.freeze()
