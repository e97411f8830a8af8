"""TensorFlow without its notes on start-up."""

import os
import sys
import tempfile


def import_tensorflow() -> None:
    """Imports TensorFlow, and keeps what its C++ parts print of themselves to itself.

    Some of that comes before TensorFlow reads TF_CPP_MIN_LOG_LEVEL, and would be the
    first that a user reads. If the import fails, all of it is printed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as notes:
        os.dup2(notes.fileno(), 2)
        try:
            import keras  # noqa: F401
            import tensorflow as tf

            tf.config.list_physical_devices()
        except BaseException:
            notes.seek(0)
            os.write(kept, notes.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
