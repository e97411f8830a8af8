"""The classifier that a callback judges: as it would be exported now."""

import contextlib
from collections.abc import Iterator

import keras

from mma_tf.models.inference import inference_logits_fn
from mma_tf.models.precision import in_float32
from mma_tf.training.averaging import averaged_weights
from mma_tf.training.robust_model import RobustModel
from mma_tf.types import LogitsFn


class Judged:
    """What a model would be exported as: averaged weights, in float32.

    Attacks on a classifier in half precision find less than there is, and it is not
    what a user gets.

    Attributes:
        logits_fn: The classifier as every attack sees it; up to date within `now`.

    Args:
        model: Trains a classifier, or is one.
    """

    def __init__(self, model: keras.Model) -> None:
        self._model = model
        is_ours = isinstance(model, RobustModel)
        self._classifier = model.classifier if is_ours else model
        self._twin = in_float32(self._classifier)
        self.logits_fn: LogitsFn = inference_logits_fn(self._twin)

    @contextlib.contextmanager
    def now(self) -> Iterator[None]:
        """Puts in the weights of now; training then goes on as if nothing was."""
        with averaged_weights(self._model):
            if self._twin is not self._classifier:
                self._twin.set_weights(self._classifier.get_weights())
            yield
