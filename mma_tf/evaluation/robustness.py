"""A classifier's accuracy, margins and accuracy under attack on a set of images."""

import dataclasses
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from mma_tf.attacks.iterative import is_error
from mma_tf.attacks.pgd import pgd
from mma_tf.devices import has_gpu
from mma_tf.evaluation.margins import MarginEstimate, an_pgd_margins
from mma_tf.evaluation.predictor import fill_up
from mma_tf.inputs import check_pixels
from mma_tf.losses.carlini_wagner import carlini_wagner_loss
from mma_tf.losses.cross_entropy import cross_entropy
from mma_tf.noise import fold_in
from mma_tf.types import LogitsFn, NormName, Seed, Tensor


@dataclasses.dataclass(frozen=True)
class Judgement:
    """How a classifier is judged: the attacks and all their parameters.

    Attributes:
        norm: "linf" or "l2".
        eps: Radius for robust accuracy and of the PGD that gives the margin search its
            direction, in pixel units.
        step_size: Length of the PGD steps, in pixel units.
        num_steps: PGD steps.
        step_decay: Whether they become shorter, see `mma_tf.attacks.pgd`.
        max_eps: The longest margin that is looked for, in pixel units.
        num_search_steps: Bisections of the margin search.
        num_restarts: Further PGD runs at `eps`, so many with cross-entropy and so many
            with the Carlini-Wagner loss; an example is robust only if all runs fail.
        num_start_queries: Of the random search whose best point the first run starts
            at, see `mma_tf.attacks.pgd`; 0 for a random start.
    """

    norm: NormName
    eps: float
    step_size: float
    num_steps: int
    max_eps: float
    num_search_steps: int = 10
    num_restarts: int = 0
    step_decay: bool = False
    num_start_queries: int = 0

    def describe(self) -> str:
        """Returns the attack in words, for a report."""
        runs = f"1 run with SLM loss, {self.num_restarts} with CE, {self.num_restarts} "
        runs = f"{runs}with CW" if self.num_restarts else "1 run with SLM loss"
        if self.num_start_queries:
            runs = f"{runs}, the first from {self.num_start_queries} random queries"
        step = "falling steps of mean" if self.step_decay else "step"
        return (
            f"PGD-{self.num_steps}, {self.norm}, eps {self.eps:.4g}, {step} "
            f"{self.step_size:.4g}, {runs}"
        )


@dataclasses.dataclass(frozen=True)
class Robustness:
    """What the attacks found, one entry an example, each array `[examples]`.

    Attributes:
        margins: Upper bounds of the margins, see `MarginEstimate.margin`.
        found: Whether an error was found within `judgement.max_eps`.
        correct: Whether the image itself is classified right.
        robust: Whether no attack at `judgement.eps` found an error.
        judgement: The attacks.
    """

    margins: np.ndarray
    found: np.ndarray
    correct: np.ndarray
    robust: np.ndarray
    judgement: Judgement

    @property
    def num_examples(self) -> int:
        """How many examples were judged."""
        return len(self.margins)

    def summary(self) -> dict[str, float]:
        """Returns the averages.

        `average_margin` counts a margin beyond `max_eps` as `max_eps`, and
        `above_max_eps` is the share of such examples.
        """
        return {
            "accuracy": float(np.mean(self.correct)),
            "robust_accuracy": float(np.mean(self.robust)),
            "average_margin": float(np.mean(self.margins)),
            "above_max_eps": float(np.mean(~self.found)),
        }


class RobustnessMeter:
    """A classifier with the attacks that judge it, compiled once for many uses.

    Args:
        logits_fn: Images to logits `[batch, classes]`, in inference mode.
        judgement: The attacks.
        batch_size: Examples attacked at a time. It changes no definition, but the
            attacks' random starts.
    """

    def __init__(
        self, logits_fn: LogitsFn, judgement: Judgement, *, batch_size: int = 250
    ) -> None:
        self.judgement = judgement
        self._batch_size = batch_size
        self._attack = tf.function(
            lambda images, labels, seed: _attack(
                logits_fn, images, labels, judgement, seed
            ),
            # XLA pays on a GPU; on a CPU it is slower than the plain graph.
            jit_compile=has_gpu(),
        )

    def measure(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        *,
        seed: Seed = 0,
        on_batch: Callable[[], None] = lambda: None,
    ) -> Robustness:
        """Attacks every example, with the weights as they are now.

        Args:
            images: `[examples, height, width, channels]`, floating, in [0, 1].
            labels: `[examples]`, whole numbers in [0, classes).
            seed: Of the random starts.
            on_batch: Called after each batch, for progress, or to raise and so to stop.

        Raises:
            ValueError: If there are no examples, the numbers of images and labels
                differ, or pixels are outside [0, 1].
        """
        labels = np.reshape(labels, -1)
        if len(images) == 0 or len(images) != len(labels):
            raise ValueError(
                "Invalid `images`: expected at least one, and a label for each. "
                f"Received: {len(images)} images, {len(labels)} labels"
            )
        check_pixels(np.min(images), np.max(images))
        size = min(self._batch_size, len(images))
        estimates: list[list[np.ndarray]] = []
        for number, start in enumerate(range(0, len(images), size)):
            estimate = self._attack(
                tf.convert_to_tensor(fill_up(images[start : start + size], size)),
                tf.convert_to_tensor(fill_up(labels[start : start + size], size)),
                fold_in(seed, number),
            )
            held = min(size, len(images) - start)
            estimates.append([field.numpy()[:held] for field in estimate])
            on_batch()
        fields = (np.concatenate(parts) for parts in zip(*estimates, strict=True))
        margins, found, correct, robust = fields
        return Robustness(margins, found, correct, robust, self.judgement)


def _attack(
    logits_fn: LogitsFn,
    images: Tensor,
    labels: Tensor,
    judgement: Judgement,
    seed: Tensor,
) -> MarginEstimate:
    estimate = an_pgd_margins(
        logits_fn,
        images,
        labels,
        norm=judgement.norm,
        eps=judgement.eps,
        step_size=judgement.step_size,
        num_steps=judgement.num_steps,
        step_decay=judgement.step_decay,
        max_eps=judgement.max_eps,
        num_search_steps=judgement.num_search_steps,
        num_start_queries=judgement.num_start_queries,
        seed=fold_in(seed, 0),
    )
    robust, margin, found = estimate.robust, estimate.margin, estimate.found
    runs = [cross_entropy, carlini_wagner_loss] * judgement.num_restarts
    for number, loss in enumerate(runs, start=1):
        points = pgd(
            logits_fn,
            images,
            labels,
            norm=judgement.norm,
            eps=judgement.eps,
            num_steps=judgement.num_steps,
            step_size=judgement.step_size,
            step_decay=judgement.step_decay,
            loss=loss,
            seed=fold_in(seed, number),
        )
        robust &= ~is_error(labels, logits_fn(points))
    if judgement.eps <= judgement.max_eps:
        # An error at eps bounds the margin, whichever attack found it.
        margin = tf.where(robust, margin, tf.minimum(margin, judgement.eps))
        found |= ~robust
    return estimate._replace(robust=robust, margin=margin, found=found)
