"""What every test gets."""

import gc
import os

# Before TensorFlow is imported: its start-up notes are not this suite's.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import pytest


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
