"""What an evaluation judges."""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from mma_tf.types import LogitsFn, NormName


@dataclasses.dataclass(frozen=True)
class Subject:
    """What is judged, and how.

    Attributes:
        model: Its name.
        logits_fn: Images to logits `[batch, classes]`, in inference mode.
        sources: Models that adversarial images are made on, by name.
        fetch: Places of examples to their images, float32 in [0, 1].
        labels: `[examples]`.
        targets: `[examples, classes - 1]` the wrong classes, the likeliest first.
        norm: "linf" or "l2".
        eps: The radii in ascending order; empty for margins.
        seed: From which all random numbers come.
        batch_size: Examples attacked at a time.
        fingerprint: Names images, labels, attacks and settings: what is saved belongs
            to them alone.
        answers: Logits of the model and of the sources, by which to know them again.
        first: Place of the first example among those of the whole evaluation.
    """

    model: str
    logits_fn: LogitsFn
    sources: Mapping[str, LogitsFn]
    fetch: Callable[[np.ndarray], np.ndarray]
    labels: np.ndarray
    targets: np.ndarray
    norm: NormName
    eps: tuple[float, ...]
    seed: int
    batch_size: int
    fingerprint: str
    answers: Mapping[str, np.ndarray]
    first: int = 0

    def part(self, start: int, stop: int) -> "Subject":
        """Returns the same model on the examples from `start` to before `stop`."""
        answers = dict(self.answers)
        if "model" in answers:
            answers["model"] = answers["model"][start:stop]
        return dataclasses.replace(
            self,
            fetch=lambda places: self.fetch(start + places),
            labels=self.labels[start:stop],
            targets=self.targets[start:stop],
            fingerprint=f"{self.fingerprint} {start}:{stop}",
            answers=answers,
            first=self.first + start,
        )
