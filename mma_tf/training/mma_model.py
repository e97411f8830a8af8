"""MMA training as a Keras model."""

import math
import warnings
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from mma_tf.attacks.an_pgd import an_pgd
from mma_tf.losses.soft_logit_margin import soft_logit_margin_loss
from mma_tf.norms.registry import get_norm
from mma_tf.per_example import select
from mma_tf.training.margin_memory import MarginMemory
from mma_tf.training.mma_objective import mma_objective
from mma_tf.training.robust_model import Batch, Objective, RobustModel
from mma_tf.types import NormName, Tensor


class MMAModel(RobustModel):
    """Trains a classifier to have margins of `d_max`: max-margin adversarial training.

    Each step finds by AN-PGD how far each image that is classified right can be pushed
    before the classifier errs, and trains on that boundary point until the margin
    reaches `d_max`. Images that are classified wrong are trained on as they are.

        model = mma_tf.MMAModel(classifier, norm="linf", d_max=0.3)
        model.compile("adam")
        model.fit(images, labels, epochs=10)
        model.classifier.export("saved_model")

    Progress reports `loss`, `accuracy` (of the clean images), `eps` (the average margin
    that AN-PGD found, 0 for an image that is classified wrong) and `at_d_max` (the
    share of the images whose margin reached `d_max`).

    Args:
        classifier: Any Keras model, images [0, 1] to logits `[batch, classes]`.
        norm: "linf" or "l2".
        d_max: The margin to reach, in pixel units, > 0.
        num_examples: How many examples the training data has. With it, and with batches
            `({"image", "index"}, labels)` (see `mma_tf.data.with_index`), each
            example's search starts at the length that its last one found. Without, each
            search starts at `min_eps`.
        min_eps: The least length a search starts at, in (0, `d_max`]; by default
            `d_max` / 4.
        attack_steps: PGD steps.
        first_attack_steps: PGD steps at the beginning, from which they rise in a line
            to `attack_steps` over `ramp_steps`; None for `attack_steps` throughout.
        ramp_steps: Training steps of that rise, >= 1 where there is one.
        search_steps: Bisections of the line search. With 0 there is none, and no hinge
            either: all images that are classified right are trained on where PGD of
            length `fixed_eps` ends.
        fixed_eps: That length, in pixel units, > 0; needed if `search_steps` is 0.
        step_size_factor: Length of a PGD step in units of eps / `attack_steps`.
        step_decay: Whether PGD's steps become shorter, see `mma_tf.attacks.pgd`.
        max_eps_factor: The search looks up to `max_eps_factor` * `d_max`, > 1, so that
            a margin can be seen to have reached `d_max`.
        clean_loss_coeff: lambda, the weight of the clean loss, in [0, 1]; 0 is OMMA.
        margin_memory: False starts every search at `min_eps`, whatever is remembered.
        hinge: False trains on images beyond `d_max` too, at the longest length.
        weight_decay: Coupled L2, see `RobustModel`.
        seed: Of the attack's random starts.

    Raises:
        ValueError: If an argument is out of its range.
        UserError: If the classifier ends in a softmax or sigmoid.

    Reference: Ding et al., ICLR 2020 (arXiv 1812.02637), section 2.
    """

    reported = ("eps", "at_d_max")

    def __init__(
        self,
        classifier: keras.Model,
        *,
        norm: NormName,
        d_max: float,
        num_examples: int | None = None,
        min_eps: float | None = None,
        attack_steps: int = 10,
        first_attack_steps: int | None = None,
        ramp_steps: int = 0,
        search_steps: int = 10,
        fixed_eps: float | None = None,
        step_size_factor: float = 2.5,
        step_decay: bool = False,
        max_eps_factor: float = 1.05,
        clean_loss_coeff: float = 1 / 3,
        margin_memory: bool = True,
        hinge: bool = True,
        weight_decay: float = 0.0,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(classifier, weight_decay=weight_decay, seed=seed, **kwargs)
        get_norm(norm)
        min_eps = d_max / 4 if min_eps is None else min_eps
        _check_range("d_max", d_max, d_max > 0, "a length > 0")
        if norm == "linf" and d_max > 1:
            raise ValueError(
                "Invalid `d_max`: expected a length in (0, 1] for linf, images being "
                f"in [0, 1]. Received: d_max={d_max} (did you mean {d_max:g}/255?)"
            )
        _check_range(
            "min_eps", min_eps, 0 < min_eps <= d_max, f"a length in (0, d_max={d_max}]"
        )
        _check_range(
            "clean_loss_coeff", clean_loss_coeff, 0 <= clean_loss_coeff <= 1, "[0, 1]"
        )
        _check_range("attack_steps", attack_steps, attack_steps >= 1, "at least 1")
        if first_attack_steps is not None:
            _check_range(
                "first_attack_steps",
                first_attack_steps,
                1 <= first_attack_steps <= attack_steps,
                f"1 to attack_steps={attack_steps}",
            )
            _check_range("ramp_steps", ramp_steps, ramp_steps >= 1, "at least 1")
        _check_range("search_steps", search_steps, search_steps >= 0, "at least 0")
        if search_steps == 0:
            length, longest = fixed_eps or 0.0, max_eps_factor * d_max
            _check_range(
                "fixed_eps",
                length,
                0 < length <= longest,
                f"a length in (0, max_eps_factor * d_max={longest:g}]",
            )
        _check_range(
            "max_eps_factor", max_eps_factor, max_eps_factor > 1, "a factor > 1"
        )
        self.norm = norm
        self.d_max = d_max
        self.min_eps = min_eps
        self.attack_steps = attack_steps
        self.first_attack_steps = first_attack_steps
        self.ramp_steps = ramp_steps
        self.search_steps = search_steps
        self.fixed_eps = fixed_eps
        self.step_size_factor = step_size_factor
        self.step_decay = step_decay
        self.max_eps_factor = max_eps_factor
        self.clean_loss_coeff = clean_loss_coeff
        self.margin_memory = margin_memory
        self.hinge = hinge
        self.memory = (
            MarginMemory(num_examples) if num_examples and margin_memory else None
        )

    def max_eps(self, image_shape: Sequence[int]) -> float:
        """Returns the longest length that the search looks at, a little above `d_max`.

        Args:
            image_shape: Height, width and channels.
        """
        # The box is never left, so beyond its diameter there is nothing to find.
        diameter = get_norm(self.norm).diameter(math.prod(image_shape))
        return min(self.max_eps_factor * self.d_max, diameter)

    def objective(self, batch: Batch, tape: tf.GradientTape) -> Objective:
        clean_logits = self.logits(batch.images)
        with tape.stop_recording():
            correct = soft_logit_margin_loss(batch.labels, clean_logits) < 0
            points, eps = an_pgd(
                self.inference_logits_fn,
                batch.images,
                batch.labels,
                norm=self.norm,
                initial_eps=self._initial_eps(batch),
                max_eps=self.max_eps(batch.images.shape[1:]),
                num_steps=self._num_attack_steps(),
                num_search_steps=self.search_steps,
                step_size_factor=self.step_size_factor,
                step_decay=self.step_decay,
                seed=batch.seed,
            )
            # Masks, not gathers: shapes stay static, and most examples are right.
            eps = tf.where(correct, eps, tf.zeros_like(eps))
            mixed_images = select(correct, points, batch.images)
        loss = mma_objective(
            labels=batch.labels,
            clean_logits=clean_logits,
            mixed_logits=self.logits(mixed_images),
            correct=correct,
            eps=eps,
            # A length that nothing was searched for is no margin.
            d_max=self.d_max if self.hinge and self.search_steps else math.inf,
            clean_loss_coeff=self.clean_loss_coeff,
            label_smoothing=self.label_smoothing,
        )
        at_d_max = tf.cast(eps >= self.d_max, tf.float32)
        return Objective(loss, clean_logits, {"eps": eps, "at_d_max": at_d_max})

    def after_update(self, batch: Batch, report: dict[str, Tensor]) -> None:
        memory = self._memory_of(batch)
        if memory is not None:
            memory.store(batch.index, report["eps"])

    def _num_attack_steps(self) -> int | Tensor:
        if self.first_attack_steps is None:
            return self.attack_steps
        done = tf.cast(self.steps_done.value, tf.float32) / self.ramp_steps
        rise = tf.minimum(done, 1.0) * (self.attack_steps - self.first_attack_steps)
        return self.first_attack_steps + tf.cast(tf.round(rise), tf.int32)

    def _initial_eps(self, batch: Batch) -> Tensor:
        if self.search_steps == 0:
            return tf.constant(self.fixed_eps)
        memory = self._memory_of(batch)
        if memory is not None:
            return memory.recall(batch.index, min_eps=self.min_eps)
        return tf.constant(self.min_eps)

    def _memory_of(self, batch: Batch) -> MarginMemory | None:
        if not self.margin_memory or (self.memory is None) == (batch.index is None):
            return self.memory
        if batch.index is not None:
            raise ValueError(
                "Invalid `num_examples`: the data carries an index per example, so "
                "the number of examples is needed. Received: num_examples=None"
            )
        raise ValueError(
            "Invalid training data: `num_examples` is set, so batches must be "
            '({"image": images, "index": index}, labels); '
            "`mma_tf.data.with_index` makes them. Received: images without index"
        )

    def fit(self, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        if self.memory is None and self.margin_memory:
            _say_once_that_nothing_is_remembered()
        return super().fit(*args, **kwargs)


def _check_range(name: str, value: float, is_valid: bool, expected: str) -> None:
    if not is_valid:
        raise ValueError(
            f"Invalid `{name}`: expected {expected}. Received: {name}={value}"
        )


def _say_once_that_nothing_is_remembered() -> None:
    warnings.warn(
        "MMAModel trains without a memory of margins: every search starts at min_eps. "
        "Pass num_examples and batches with an index (mma_tf.data.with_index) to start "
        "each example where its last search ended.",
        stacklevel=3,
    )
