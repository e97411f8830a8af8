"""What is known of each example so far, while a suite runs."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from mma_tf.evaluation.results import Gallery
from mma_tf.evaluation.verification import Verdict, is_within

# So many images are shown with their nearest errors.
_NUM_SHOWN = 8
_NOT_FOOLED = -1


class Outcomes:
    """Errors that were found and verified, for every radius and example.

    Args:
        correct: `[examples]` whether the clean image is classified right.
        predictions: `[examples]` of the clean images.
        fetch: Places of examples to their images, float32 in [0, 1].
        radii: In ascending order, in pixel units; none for margins.
    """

    def __init__(
        self,
        correct: np.ndarray,
        predictions: np.ndarray,
        fetch: Callable[[np.ndarray], np.ndarray],
        *,
        radii: Sequence[float],
    ) -> None:
        self.correct = correct
        self.predictions = predictions
        self._fetch = fetch
        # A search of margins is an attack in a ball without end.
        self._radii = tuple(radii) or (math.inf,)
        shape = (len(self._radii), len(correct))
        self.robust = np.broadcast_to(correct, shape).copy()
        self.fooled_by = np.full(shape, _NOT_FOOLED, np.int32)
        self.sizes = np.where(correct, np.inf, 0.0)
        self.num_outside = 0
        self.num_denied = 0
        self._choose_shown()

    def _choose_shown(self) -> None:
        right = np.flatnonzero(self.correct)
        self._shown = (right if len(right) else np.arange(len(self.correct)))[
            :_NUM_SHOWN
        ]
        self._images = self._fetch(self._shown)
        self._adversarial = self._images.copy()
        self._shown_predictions = self.predictions[self._shown]

    def refuse(self, verdict: Verdict) -> None:
        """Counts claims that turned out to be false.

        Args:
            verdict: What is true of points that an attack called errors.
        """
        self.num_outside += int(np.sum(~verdict.inside))
        self.num_denied += int(np.sum(verdict.inside & ~verdict.error))

    def note(
        self, stage: int, examples: np.ndarray, points: np.ndarray, verdict: Verdict
    ) -> None:
        """Notes verified errors, at every radius whose ball they are in.

        So an error that was found in a large ball, and turned out to be near, counts in
        the smaller ones, too.

        Args:
            stage: Of the attack, among all.
            examples: `[n]` their places.
            points: `[n, ...]` float32, errors all of them.
            verdict: What is true of them.
        """
        for at, example in enumerate(examples):
            distance = float(verdict.distance[at])
            nearer = distance < self.sizes[example]
            for number, eps in enumerate(self._radii):
                first = self.robust[number, example] and is_within(distance, eps)
                # Of margins, whose radius has no end, the nearest error counts.
                if first or (nearer and np.isinf(eps)):
                    self.robust[number, example] = False
                    self.fooled_by[number, example] = stage
            if nearer:
                self.sizes[example] = distance
                self._show(example, points[at], verdict.prediction[at])

    def take_over(self, start: int, part: "Outcomes") -> None:
        """Takes over what is known of a part of the examples.

        Args:
            start: Place of the part's first example.
            part: Outcomes of the same radii; what it says of the clean images is what
                this was made with at these places.
        """
        places = slice(start, start + len(part.correct))
        self.robust[:, places] = part.robust
        self.fooled_by[:, places] = part.fooled_by
        self.sizes[places] = part.sizes
        self.num_outside += part.num_outside
        self.num_denied += part.num_denied
        for at, example in enumerate(part._shown):
            prediction = part._shown_predictions[at]
            self._show(start + example, part._adversarial[at], prediction)

    def _show(self, example: int, point: np.ndarray, prediction: int) -> None:
        for at in np.flatnonzero(self._shown == example):
            self._adversarial[at] = point
            self._shown_predictions[at] = prediction

    def gallery(self, labels: np.ndarray) -> Gallery:
        """Returns a few images with their nearest errors."""
        return Gallery(
            indices=self._shown,
            images=self._images,
            adversarial=self._adversarial,
            sizes=self.sizes[self._shown],
            labels=labels[self._shown],
            predictions=self._shown_predictions,
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns all that changes, to be saved."""
        return {
            "correct": self.correct,
            "predictions": self.predictions,
            "robust": self.robust,
            "fooled_by": self.fooled_by,
            "sizes": self.sizes,
            "refused": np.array([self.num_outside, self.num_denied]),
            "adversarial": self._adversarial,
            "shown_predictions": self._shown_predictions,
        }

    def restore(self, saved: Mapping[str, np.ndarray]) -> None:
        """Puts back what `arrays` gave."""
        # A random model, or another machine, may have answered otherwise there.
        self.correct = saved.get("correct", self.correct)
        self.predictions = saved.get("predictions", self.predictions)
        self._choose_shown()
        self.robust, self.fooled_by = saved["robust"], saved["fooled_by"]
        self.sizes = saved["sizes"]
        self.num_outside, self.num_denied = (int(n) for n in saved["refused"])
        self._adversarial = saved["adversarial"]
        self._shown_predictions = saved["shown_predictions"]
