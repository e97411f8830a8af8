"""MMA training as a Keras model."""

import math
import warnings
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from mma_tf.attacks.an_pgd import an_pgd
from mma_tf.losses.soft_logit_margin import soft_logit_margin_loss
from mma_tf.moves import move, move_back
from mma_tf.noise import fold_in
from mma_tf.norms.registry import get_norm
from mma_tf.per_example import over_pixels, select
from mma_tf.training.example_memory import ExampleMemory
from mma_tf.training.mma_arguments import check_mma_arguments
from mma_tf.training.mma_objective import mma_objective
from mma_tf.training.partial_search import Part, choose_part
from mma_tf.training.robust_model import Batch, Objective, RobustModel
from mma_tf.types import NormName, Tensor

# Apart from those of the attack, which has the step's own seed.
_CHOICE_STREAM = 1


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
        start_queries: Queries of the random search whose best point PGD starts at, see
            `mma_tf.attacks.pgd`; 0 for a random start. A departure from the paper.
        max_eps_factor: The search looks up to `max_eps_factor` * `d_max`, > 1, so that
            a margin can be seen to have reached `d_max`.
        clean_loss_coeff: lambda, the weight of the clean loss, in [0, 1]; 0 is OMMA.
        margin_memory: False starts every search at `min_eps`, whatever is remembered.
        direction_memory: Start each example's search in the direction in which its last
            one ended, where it was classified right; with `start_queries`, the random
            search begins there. So what a search missed the next ones may find, and the
            network cannot but mend what was found. Images that are not the same in
            each epoch must tell their "moves", see `RobustModel`: directions are kept
            for the image that was moved. It needs the memory of margins. A departure
            from the paper.
        hinge: False trains on images beyond `d_max` too, at the longest length.
        search_share: Search the margins of only so large a share of each batch, in
            (0, 1], see `choose_part`: when most have reached `d_max`, a search of all
            is mostly in vain. Below 1 it needs the memory of margins, and `eps` and
            `at_d_max` are of each example's last search. Each replica chooses among its
            own examples. A departure from the paper.
        weight_decay: Coupled L2, see `RobustModel`.
        seed: Of the attack's random starts.

    Raises:
        ValueError: If an argument is out of its range; by `fit`, if the classifier does
            not know its input and directions are to be kept (build the model before:
            `model.build(shape)`).
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
        start_queries: int = 0,
        max_eps_factor: float = 1.05,
        clean_loss_coeff: float = 1 / 3,
        margin_memory: bool = True,
        direction_memory: bool = False,
        hinge: bool = True,
        search_share: float = 1.0,
        weight_decay: float = 0.0,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(classifier, weight_decay=weight_decay, seed=seed, **kwargs)
        min_eps = d_max / 4 if min_eps is None else min_eps
        check_mma_arguments(
            norm=norm,
            d_max=d_max,
            min_eps=min_eps,
            attack_steps=attack_steps,
            first_attack_steps=first_attack_steps,
            ramp_steps=ramp_steps,
            start_queries=start_queries,
            step_size_factor=step_size_factor,
            search_steps=search_steps,
            fixed_eps=fixed_eps,
            max_eps_factor=max_eps_factor,
            clean_loss_coeff=clean_loss_coeff,
            search_share=search_share,
            direction_memory=direction_memory,
            has_memory=bool(num_examples and margin_memory),
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
        self.start_queries = start_queries
        self.max_eps_factor = max_eps_factor
        self.clean_loss_coeff = clean_loss_coeff
        self.margin_memory = margin_memory
        self.hinge = hinge
        self.search_share = search_share
        self.memory: ExampleMemory | None = None
        if num_examples and margin_memory:
            self.memory = ExampleMemory(num_examples, name="margin_memory")
        self.direction_memory = direction_memory
        self.directions: ExampleMemory | None = None
        # One that does not tell, or takes images of any size, waits for `build`.
        shape = getattr(classifier, "input_shape", None) if classifier.built else None
        if shape is not None and None not in shape[1:]:
            self._make_directions(shape)

    def max_eps(self, image_shape: Sequence[int]) -> float:
        """Returns the longest length that the search looks at, a little above `d_max`.

        Args:
            image_shape: Height, width and channels.
        """
        # The box is never left, so beyond its diameter there is nothing to find.
        diameter = get_norm(self.norm).diameter(math.prod(image_shape))
        return min(self.max_eps_factor * self.d_max, diameter)

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        shape = input_shape["image"] if isinstance(input_shape, dict) else input_shape
        self._make_directions(shape)

    def objective(self, batch: Batch, tape: tf.GradientTape) -> Objective:
        clean_logits = self.logits(batch.images)
        with tape.stop_recording():
            correct = soft_logit_margin_loss(batch.labels, clean_logits) < 0
            remembered = self._remembered(batch)
            part = self._part(batch, correct, remembered)
            searched = (batch.images, batch.labels, batch.index, correct, remembered)
            if part is not None:
                searched = tuple(map(part.take, searched))
            images, labels, index, has_margin, lengths = searched
            moves = batch.moves
            if part is not None and moves is not None:
                moves = part.take(moves)
            points, eps = an_pgd(
                self.inference_logits_fn,
                images,
                labels,
                norm=self.norm,
                initial_eps=self._initial_eps(lengths),
                max_eps=self.max_eps(batch.images.shape[1:]),
                num_steps=self._num_attack_steps(),
                num_search_steps=self.search_steps,
                step_size_factor=self.step_size_factor,
                step_decay=self.step_decay,
                start_direction=self._start_direction(index, moves),
                num_start_queries=self.start_queries,
                seed=batch.seed,
            )
            # Masks, not gathers: shapes stay static, and most examples are right.
            mixed_images = select(has_margin, points, images)
            kept = self._kept(index, moves, mixed_images - images, eps)
            if part is not None:
                eps = part.put(eps, into=remembered)
            eps = tf.where(correct, eps, tf.zeros_like(eps))
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
            part=part,
        )
        at_d_max = tf.cast(eps >= self.d_max, tf.float32)
        report = {"eps": eps, "at_d_max": at_d_max}
        return Objective(loss, clean_logits, report, kept)

    def after_update(self, batch: Batch, objective: Objective) -> None:
        memory = self._memory_of(batch)
        if memory is not None:
            memory.store(batch.index, objective.report["eps"])
        if self.directions is not None:
            self.directions.store(**objective.kept)

    def _make_directions(self, input_shape: Sequence[int]) -> None:
        wanted = self.direction_memory and self.directions is None
        if wanted and self.memory is not None:
            self.directions = ExampleMemory(
                self.memory.num_examples,
                shape=input_shape[1:],
                # A start needs no more precision, and there is one for each pixel.
                dtype="float16",
                name="direction_memory",
            )

    def _num_attack_steps(self) -> int | Tensor:
        if self.first_attack_steps is None:
            return self.attack_steps
        done = tf.cast(self.steps_done.value, tf.float32) / self.ramp_steps
        rise = tf.minimum(done, 1.0) * (self.attack_steps - self.first_attack_steps)
        return self.first_attack_steps + tf.cast(tf.round(rise), tf.int32)

    def _part(self, batch: Batch, correct: Tensor, remembered: Tensor) -> Part | None:
        if self.search_share == 1:
            return None
        return choose_part(
            correct=correct,
            reached=remembered >= self.d_max,
            share=self.search_share,
            seed=fold_in(batch.seed, _CHOICE_STREAM),
        )

    def _initial_eps(self, remembered: Tensor) -> Tensor:
        if self.search_steps == 0:
            return tf.constant(self.fixed_eps)
        return tf.maximum(remembered, self.min_eps)

    def _start_direction(self, index: Tensor, moves: Tensor | None) -> Tensor | None:
        if not self.direction_memory:
            return None
        if self.directions is None:
            raise ValueError(
                "Invalid model: the memory of directions has the images' shape, so the "
                "model must be built before. Received: a model that is not (call "
                "`model.build((None, height, width, channels))`)"
            )
        directions = self.directions.recall(index)
        return directions if moves is None else move(directions, moves)

    def _kept(
        self, index: Tensor, moves: Tensor | None, changes: Tensor, eps: Tensor
    ) -> dict[str, Tensor]:
        if not self.direction_memory:
            return {}
        # Zero, which is no direction, where there was nothing to search.
        directions = tf.math.divide_no_nan(changes, over_pixels(eps, changes))
        if moves is not None:
            directions = move_back(directions, moves)
        return {"index": index, "values": directions}

    def _remembered(self, batch: Batch) -> Tensor:
        memory = self._memory_of(batch)
        if memory is None:
            return tf.constant(0.0)
        return memory.recall(batch.index)

    def _memory_of(self, batch: Batch) -> ExampleMemory | None:
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


def _say_once_that_nothing_is_remembered() -> None:
    warnings.warn(
        "MMAModel trains without a memory of margins: every search starts at min_eps. "
        "Pass num_examples and batches with an index (mma_tf.data.with_index) to start "
        "each example where its last search ended.",
        stacklevel=3,
    )
