"""What an evaluation found, with all that is needed to trust and to repeat it."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from mma_tf.evaluation.statistics import Interval, wilson_interval
from mma_tf.types import NormName

SCHEMA_VERSION = 1


@dataclasses.dataclass(frozen=True)
class StageResult:
    """One attack of a suite at one radius, on the examples that were still right.

    Attributes:
        name: Of the attack, as "apgd-ce".
        attack: Its class and all its parameters.
        num_passes: Random starts, or targets, an example got at most.
        targeted: Whether a pass aims at a target class, the likeliest wrong one first.
        source: The model that the adversarial images were made on, None if this one.
        seed: Of its random numbers.
        eps: Radius, in pixel units; None for a search of margins.
        num_attacked: Examples that were still right before.
        num_fooled: Those of them for which it found an error (margins: a shorter one).
        accuracy: Share of *all* examples still right after it.
        forward_passes: Images that went through the network, those of gradients and
            places of a batch that held no example included.
        backward_passes: Images for which a gradient was computed.
        seconds: Wall time, that of compilation included; of all shards, added up.
    """

    name: str
    attack: dict[str, Any]
    num_passes: int
    targeted: bool
    source: str | None
    seed: int
    eps: float | None
    num_attacked: int
    num_fooled: int
    accuracy: float
    forward_passes: int
    backward_passes: int
    seconds: float


@dataclasses.dataclass(frozen=True)
class Check:
    """A sanity check of the figures.

    Attributes:
        name: In a few words.
        flagged: Whether there is reason for doubt.
        found: What was seen, in a sentence.
        meaning: What it means for the figures.
        advice: What to do.
        eps: The radius whose figure it is about, None for all of them.
    """

    name: str
    flagged: bool
    found: str
    meaning: str
    advice: str
    eps: float | None = None


@dataclasses.dataclass(frozen=True)
class Gallery:
    """A few images with their nearest errors.

    Attributes:
        indices: `[shown]` places in the evaluated examples.
        images: `[shown, height, width, channels]` float32 in [0, 1].
        adversarial: The nearest misclassified points that were found, likewise; the
            image itself where there is none.
        sizes: `[shown]` their distances in the norm, infinite where there is none.
        labels: `[shown]`.
        predictions: `[shown]` the class of each misclassified point.
    """

    indices: np.ndarray
    images: np.ndarray
    adversarial: np.ndarray
    sizes: np.ndarray
    labels: np.ndarray
    predictions: np.ndarray


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """A classifier's robustness, as far as the attacks of a suite could tell.

    Arrays have an entry an example, in the order in which the examples were given.

    Attributes:
        model: The model's name.
        norm: "linf" or "l2".
        suite: Name of the suite.
        eps: The radii in ascending order, in pixel units; empty for "margins".
        labels: `[examples]`.
        predictions: `[examples]` of the clean images.
        correct: `[examples]` whether the clean image is classified right.
        robust: `[radii, examples]` whether it is, and every attack failed, at this
            radius or with an error that is in this ball at another.
        fooled_by: `[radii, examples]` index in `stages` of the attack that found the
            error that counts; -1 where none did. `[1, examples]` for "margins".
        sizes: `[examples]` the distance of the nearest error that any attack found: an
            upper bound of the margin; 0 where the image itself is wrong, infinite where
            none was found.
        stages: Attack after attack, radius after radius.
        checks: The sanity checks.
        gallery: A few examples.
        seed: From which all random numbers come.
        batch_size: Examples attacked at a time.
        num_shards: Parts of the examples that were judged apart.
        has_gradient: Whether gradients could be taken; without, no attack on this model
            took one.
        seconds: Wall time of it all, that of all shards added up.
    """

    model: str
    norm: NormName
    suite: str
    eps: tuple[float, ...]
    labels: np.ndarray
    predictions: np.ndarray
    correct: np.ndarray
    robust: np.ndarray
    fooled_by: np.ndarray
    sizes: np.ndarray
    stages: tuple[StageResult, ...]
    checks: tuple[Check, ...]
    gallery: Gallery
    seed: int
    batch_size: int
    num_shards: int
    has_gradient: bool
    seconds: float

    @property
    def num_examples(self) -> int:
        """How many examples were judged."""
        return len(self.correct)

    @property
    def accuracy(self) -> float:
        """The share of clean images that is classified right."""
        return float(np.mean(self.correct))

    @property
    def robust_accuracy(self) -> dict[float, float]:
        """The share of examples that withstood every attack, by radius."""
        rows = zip(self.eps, self.robust, strict=True)
        return {eps: float(np.mean(row)) for eps, row in rows}

    @property
    def warnings(self) -> tuple[Check, ...]:
        """The sanity checks that give reason for doubt."""
        return tuple(check for check in self.checks if check.flagged)

    def interval(self, eps: float | None = None) -> Interval:
        """Returns the 95 % Wilson interval of an accuracy.

        Args:
            eps: Of the robust accuracy at this radius; by default of the clean one.
        """
        right = self.correct if eps is None else self.robust[self.eps.index(eps)]
        return wilson_interval(int(np.sum(right)), len(right))

    def average_robust_accuracy(self) -> float | None:
        """Returns AvgRobAcc, the mean over the radii > 0; None if there are none."""
        values = [value for eps, value in self.robust_accuracy.items() if eps > 0]
        return float(np.mean(values)) if values else None

    def average_accuracy(self) -> float | None:
        """Returns AvgAcc, the mean over the radii and 0; None if there are none."""
        values = [value for eps, value in self.robust_accuracy.items() if eps > 0]
        return float(np.mean([self.accuracy, *values])) if values else None

    def margin_statistics(self) -> dict[str, float]:
        """Returns statistics of the margins' upper bounds, over all examples.

        Infinite values, of examples without an error found, count as the largest.
        """
        finite = self.sizes[np.isfinite(self.sizes)]
        quantiles = np.quantile(self.sizes, (0.1, 0.25, 0.5, 0.75, 0.9), method="lower")
        names = ("decile_1", "quartile_1", "median", "quartile_3", "decile_9")
        return {
            "mean_of_found": float(np.mean(finite)) if len(finite) else float("nan"),
            **{n: float(q) for n, q in zip(names, quantiles, strict=True)},
            "not_found": float(np.mean(~np.isfinite(self.sizes))),
        }

    def margin_histogram(self, num_bins: int = 50) -> dict[str, Any]:
        """Returns how many margins' upper bounds are in bins from 0 to the largest.

        Args:
            num_bins: Of equal width.

        Returns:
            "counts" `[num_bins]`, "highest" (end of the last bin, in pixel units),
            "wrong" (images classified wrong) and "not_found", which are in no bin.
        """
        found = self.sizes[np.isfinite(self.sizes) & (self.sizes > 0)]
        highest = float(np.max(found)) if len(found) else 0.0
        counts, _ = np.histogram(found, num_bins, range=(0.0, highest or 1.0))
        return {
            "counts": counts.tolist(),
            "highest": highest,
            "wrong": int(np.sum(self.sizes == 0)),
            "not_found": int(np.sum(~np.isfinite(self.sizes))),
        }

    def stages_at(self, eps: float | None) -> Sequence[StageResult]:
        """Returns the attacks at a radius, in the order in which they were made."""
        return [stage for stage in self.stages if stage.eps == eps]
