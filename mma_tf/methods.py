"""From a recipe's numbers to a model that trains."""

from typing import Any

import keras

from mma_tf.models.registry import build
from mma_tf.recipes.schema import Recipe
from mma_tf.training.callbacks import CosineSchedule, PiecewiseSchedule
from mma_tf.training.mma_model import MMAModel
from mma_tf.training.pgd_model import PGDModel
from mma_tf.training.robust_model import RobustModel
from mma_tf.training.standard_model import StandardModel
from mma_tf.training.trades_model import TRADESModel


def make_classifier(
    recipe: Recipe, *, image_shape: tuple[int, int, int], num_classes: int
) -> keras.Model:
    """Returns the recipe's network; see `mma_tf.models.registry.build`.

    Args:
        recipe: Names the network and its numbers.
        image_shape: Height, width and channels.
        num_classes: How many logits it gives.
    """
    return build(
        recipe.network,
        input_shape=image_shape,
        num_classes=num_classes,
        depth=recipe.depth,
        width=recipe.width,
        kernel_init=recipe.kernel_init,
    )


def make_optimizer(recipe: Recipe) -> keras.optimizers.Optimizer:
    """Returns the recipe's optimiser, at its first learning rate."""
    averaging = {"use_ema": recipe.ema, "ema_momentum": recipe.ema_momentum}
    if recipe.optimizer == "sgd":
        return keras.optimizers.SGD(
            recipe.learning_rate[0], momentum=recipe.momentum, **averaging
        )
    return keras.optimizers.Adam(recipe.learning_rate[0], **averaging)


def make_schedule(recipe: Recipe) -> keras.callbacks.Callback:
    """Returns the callback that sets the recipe's learning rate, step by step."""
    if recipe.learning_rate_decay == "cosine":
        return CosineSchedule(
            recipe.learning_rate[0],
            num_steps=recipe.train_steps,
            warmup_steps=recipe.warmup_steps,
        )
    return PiecewiseSchedule(
        recipe.learning_rate,
        recipe.learning_rate_steps,
        warmup_steps=recipe.warmup_steps,
    )


def make_model(
    recipe: Recipe, classifier: keras.Model, *, num_examples: int
) -> RobustModel:
    """Returns the recipe's training method around `classifier`, not yet compiled.

    Args:
        recipe: Names the method and its numbers.
        classifier: Images [0, 1] to logits.
        num_examples: How many examples the training data has.
    """
    common: dict[str, Any] = {
        "weight_decay": recipe.weight_decay,
        "label_smoothing": recipe.label_smoothing,
        "seed": recipe.seed,
    }
    if recipe.method == "mma":
        return MMAModel(
            classifier,
            norm=recipe.norm,
            d_max=recipe.d_max,
            num_examples=num_examples,
            min_eps=recipe.min_eps,
            attack_steps=recipe.attack_steps,
            first_attack_steps=recipe.first_attack_steps or None,
            ramp_steps=recipe.train_steps,
            search_steps=recipe.search_steps,
            fixed_eps=recipe.eps,
            step_size_factor=recipe.step_size_factor,
            step_decay=recipe.step_decay,
            start_queries=recipe.start_queries,
            max_eps_factor=recipe.max_eps_factor,
            clean_loss_coeff=recipe.clean_loss_coeff,
            margin_memory=recipe.margin_memory,
            direction_memory=recipe.direction_memory,
            hinge=recipe.hinge,
            search_share=recipe.search_share,
            **common,
        )
    if recipe.method == "standard":
        return StandardModel(classifier, **common)
    attack: dict[str, Any] = {
        "norm": recipe.norm,
        "eps": recipe.eps,
        "attack_steps": recipe.attack_steps,
        "step_size_factor": recipe.step_size_factor,
        "step_decay": recipe.step_decay,
    }
    if recipe.method == "trades":
        return TRADESModel(classifier, beta=recipe.trades_beta, **attack, **common)
    ramp_steps = recipe.train_steps if recipe.method == "pgdls" else 0
    return PGDModel(classifier, ramp_steps=ramp_steps, **attack, **common)


def make_trainable_model(
    recipe: Recipe,
    classifier: keras.Model,
    *,
    image_shape: tuple[int, int, int],
    num_examples: int,
    jit_compile: bool,
) -> RobustModel:
    """Returns `make_model`'s model, compiled, with all its variables.

    They are made here, and not by the first batch, so that a checkpoint finds them.

    Args:
        recipe: Names the method, the optimiser and their numbers.
        classifier: Images [0, 1] to logits.
        image_shape: Height, width and channels.
        num_examples: How many examples the training data has.
        jit_compile: Whether XLA compiles the training step.
    """
    model = make_model(recipe, classifier, num_examples=num_examples)
    model.compile(make_optimizer(recipe), jit_compile=jit_compile)
    model.build((None, *image_shape))
    model.optimizer.build(classifier.trainable_variables)
    return model
