"""What is known of each example so far, while a suite runs."""

from collections.abc import Callable, Mapping

import numpy as np

from mma_tf.evaluation.results import Gallery
from mma_tf.evaluation.verification import Verdict

# So many images are shown with their nearest errors.
_NUM_SHOWN = 8
_NOT_FOOLED = -1


class Records:
    """Errors that were found and verified, for every radius and example.

    Args:
        correct: `[examples]` whether the clean image is classified right.
        predictions: `[examples]` of the clean images.
        fetch: Places of examples to their images, float32 in [0, 1].
        num_radii: How many radii there are; 1 for margins.
    """

    def __init__(
        self,
        correct: np.ndarray,
        predictions: np.ndarray,
        fetch: Callable[[np.ndarray], np.ndarray],
        *,
        num_radii: int,
    ) -> None:
        self.correct = correct
        self.predictions = predictions
        self.robust = np.repeat(correct[np.newaxis], num_radii, axis=0)
        self.fooled_by = np.full((num_radii, len(correct)), _NOT_FOOLED, np.int32)
        self.sizes = np.where(correct, np.inf, 0.0)
        self.num_outside = 0
        self.num_denied = 0
        shown = np.flatnonzero(correct)[:_NUM_SHOWN]
        self._shown = shown if len(shown) else np.arange(min(_NUM_SHOWN, len(correct)))
        self._images = fetch(self._shown)
        self._adversarial = self._images.copy()
        self._shown_predictions = predictions[self._shown]

    def begin_radius(self, number: int) -> None:
        """Takes errors of the radius before over: the larger ball holds them, too."""
        if number:
            known = ~self.robust[number - 1]
            self.robust[number] &= ~known
            self.fooled_by[number] = self.fooled_by[number - 1]

    def note(
        self,
        number: int,
        stage: int,
        examples: np.ndarray,
        points: np.ndarray,
        verdict: Verdict,
        *,
        claimed: bool,
    ) -> None:
        """Notes the points that are errors, near enough, and nearer than known.

        Args:
            number: Of the radius.
            stage: Of the attack, among all.
            examples: `[n]` their places.
            points: `[n, ...]` float32.
            verdict: What is true of them.
            claimed: Whether the attack says that each is an error.
        """
        self.num_outside += int(np.sum(~verdict.inside))
        if claimed:
            self.num_denied += int(np.sum(verdict.inside & ~verdict.error))
        for at in np.flatnonzero(verdict.inside & verdict.error):
            example, distance = examples[at], verdict.distance[at]
            if self.robust[number, example]:
                self.robust[number, example] = False
                self.fooled_by[number, example] = stage
            if distance < self.sizes[example]:
                self.sizes[example] = distance
                self._show(example, points[at], verdict.prediction[at])

    def note_margin(
        self, stage: int, examples: np.ndarray, points: np.ndarray, verdict: Verdict
    ) -> None:
        """Notes the points that are errors nearer than those known.

        Args:
            stage: Of the attack, among all.
            examples: `[n]` their places.
            points: `[n, ...]` float32.
            verdict: What is true of them.
        """
        nearer = verdict.distance < self.sizes[examples]
        sure = verdict.inside & verdict.error & nearer
        self.fooled_by[0, examples[sure]] = stage
        self.note(0, stage, examples, points, verdict, claimed=True)

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
            "robust": self.robust,
            "fooled_by": self.fooled_by,
            "sizes": self.sizes,
            "refused": np.array([self.num_outside, self.num_denied]),
            "adversarial": self._adversarial,
            "shown_predictions": self._shown_predictions,
        }

    def restore(self, saved: Mapping[str, np.ndarray]) -> None:
        """Puts back what `arrays` gave."""
        self.robust, self.fooled_by = saved["robust"], saved["fooled_by"]
        self.sizes = saved["sizes"]
        self.num_outside, self.num_denied = (int(n) for n in saved["refused"])
        self._adversarial = saved["adversarial"]
        self._shown_predictions = saved["shown_predictions"]
