"""Which model of a training is the best one, and how robust it is at the end."""

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from mma_tf.data.examples import ImageDataset
from mma_tf.data.pipelines import evaluation_batches
from mma_tf.evaluation.robustness import Judgement, Robustness, RobustnessMeter
from mma_tf.norms.registry import get_norm
from mma_tf.recipes.schema import Recipe
from mma_tf.training.callbacks.margin_validation import AVERAGE_MARGIN
from mma_tf.types import LogitsFn

# Of each loss, in the closing evaluation.
_CLOSING_RESTARTS = 2
# Of a margin search where the training has none.
_SEARCH_STEPS = 10


def best_is_largest(recipe: Recipe) -> str:
    """Returns the number of a validation by which the best model is chosen.

    That is the average margin; but of a network trained on clean images the accuracy,
    since its margins are largest while it has learnt little.
    """
    return "val_accuracy" if recipe.method == "standard" else AVERAGE_MARGIN


def validation_judgement(
    recipe: Recipe, image_shape: tuple[int, int, int]
) -> Judgement:
    """Returns the attacks that choose the best model during training.

    Args:
        recipe: Has their numbers.
        image_shape: Height, width and channels.
    """
    diameter = get_norm(recipe.norm).diameter(math.prod(image_shape))
    return Judgement(
        norm=recipe.norm,
        eps=recipe.test_eps,
        step_size=recipe.test_step_size,
        num_steps=recipe.test_attack_steps,
        step_decay=recipe.test_step_decay,
        num_start_queries=recipe.test_start_queries,
        max_eps=min(recipe.max_eps_factor * recipe.d_max, diameter),
        num_search_steps=recipe.search_steps or _SEARCH_STEPS,
    )


def judge_best(
    recipe: Recipe,
    data: ImageDataset,
    logits_fn: LogitsFn,
    *,
    on_batch: Callable[[], None] = lambda: None,
) -> Robustness:
    """Attacks a classifier on the first test images."""
    test = data.test.take(0, min(recipe.test_examples, len(data.test)))
    judge = dataclasses.replace(
        validation_judgement(recipe, data.image_shape), num_restarts=_CLOSING_RESTARTS
    )
    return RobustnessMeter(logits_fn, judge).measure(
        test.images_in_unit_range(), test.labels, seed=recipe.seed, on_batch=on_batch
    )


def clean_accuracy(logits_fn: LogitsFn, data: ImageDataset) -> float:
    """Returns a classifier's accuracy on all test images, in [0, 1]."""
    right = 0
    for images, labels in evaluation_batches(data.test, batch_size=500):
        predictions = np.argmax(logits_fn(images).numpy(), axis=-1)
        right += int(np.sum(predictions == labels.numpy()))
    return right / len(data.test)
