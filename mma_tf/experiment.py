"""A whole training: recipe and data in, a run directory with the best model out."""

import dataclasses
import json
import math
import sys
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mma_tf.checkpoints import Checkpoints
from mma_tf.data.examples import ImageDataset
from mma_tf.data.pipelines import evaluation_batches, training_batches
from mma_tf.errors import UserError
from mma_tf.evaluation.robustness import Judgement, Robustness, RobustnessMeter
from mma_tf.export import export_classifier
from mma_tf.load import load_logits_fn
from mma_tf.methods import make_classifier, make_schedule, make_trainable_model
from mma_tf.recipes.schema import Recipe
from mma_tf.run_directory import RunDirectory
from mma_tf.strategy import xla_pays
from mma_tf.training.averaging import averaged_weights
from mma_tf.training.callbacks import (
    BestByMargin,
    Checkpointing,
    MarginValidation,
    PlainProgress,
    StopOnNonFinite,
    StopOnSignal,
    Throughput,
    TrainingTime,
)
from mma_tf.training.callbacks.margin_validation import AVERAGE_MARGIN
from mma_tf.training.callbacks.step_callback import StepCallback
from mma_tf.training.robust_model import RobustModel
from mma_tf.types import LogitsFn
from mma_tf.versions import describe_versions

Say = Callable[[str], None]

# Of each loss, in the closing evaluation.
CLOSING_RESTARTS = 2
# Of a margin search where the training has none.
_SEARCH_STEPS = 10


def configure_process(recipe: Recipe) -> None:
    """Makes the settings that hold for the whole process: precision, determinism."""
    keras.config.set_dtype_policy(recipe.precision)
    if recipe.deterministic:
        tf.config.experimental.enable_op_determinism()


def train(
    recipe: Recipe,
    data: ImageDataset,
    run: RunDirectory,
    *,
    strategy: tf.distribute.Strategy,
    stop_on_signal: StopOnSignal,
    say: Say = print,
) -> Robustness:
    """Trains by `recipe`, or goes on where the run directory stands.

    Args:
        recipe: Complete and valid.
        data: The dataset that the recipe was made for.
        run: Open for this recipe.
        strategy: The devices; the batch size is the global one.
        stop_on_signal: In force; ends the run where it can go on.
        say: Told, in sentences, what happens.

    Returns:
        The closing evaluation of the model with the largest validation margin.

    Raises:
        Interrupted: If a signal came; everything is saved.
        RunError: If the loss is not finite, or the disk is full.
        UserError: If the recipe does not fit the data or the devices.
    """
    _note_versions(run, say)
    # Here, so that what was trained before in this process does not matter.
    keras.utils.set_random_seed(recipe.seed)
    training, validation = data.hold_out(recipe.validation_size)
    model = _build(recipe, data, len(training), strategy)
    checkpoints = Checkpoints(run.checkpoints, model)
    step = checkpoints.restore_newest(say=say)
    records = run.forget_validations_after(step)
    if step:
        say(f"Going on from step {step} of {recipe.train_steps}.")

    judge = validation_judgement(recipe)
    images, labels = validation.images_in_unit_range(), validation.labels
    validate = MarginValidation(
        images,
        labels,
        judge,
        every_steps=recipe.validate_every,
        last_step=recipe.train_steps,
        record_path=run.validations,
        log_dir=run.events,
        seed=recipe.seed,
        on_batch=stop_on_signal.check,
        reset_metrics=True,
    )
    monitor = best_is_largest(recipe)
    keep_best = BestByMargin(
        lambda at, value: export_classifier(
            model.classifier, run.best, _describe(recipe, data, at, {monitor: value})
        ),
        best=max((line[monitor] for line in records), default=-math.inf),
        monitor=monitor,
    )
    _catch_up(model, step, records, validate, keep_best)
    if step < recipe.train_steps:
        is_terminal = sys.stdout.isatty()
        model.fit(
            training_batches(
                training,
                batch_size=recipe.batch_size,
                seed=recipe.seed,
                num_steps=recipe.train_steps,
                start_step=step,
                augmentation=recipe.augmentation,
            ),
            # One Keras epoch is the whole run: its epochs know no place to go on from.
            epochs=1,
            shuffle=False,
            verbose=int(is_terminal),
            callbacks=[
                Throughput(recipe.batch_size),
                TrainingTime(run.time, every_steps=recipe.save_every),
                StopOnNonFinite(),
                make_schedule(recipe),
                Checkpointing(
                    checkpoints.save,
                    every_steps=recipe.save_every,
                    last_step=recipe.train_steps,
                    is_due=stop_on_signal.is_due,
                    # Before each validation: a signal may cut it short.
                    also_at=validate.is_due,
                ),
                stop_on_signal,
                validate,
                keep_best,
                PlainProgress(last_step=recipe.train_steps, beside_bar=is_terminal),
            ],
        )
    value = run.read_validations()[-1][monitor]
    with averaged_weights(model):
        export_classifier(
            model.classifier,
            run.last,
            _describe(recipe, data, recipe.train_steps, {monitor: value}),
        )
    say("Closing evaluation of the best model on the test images.")
    # What is judged is the SavedModel itself, as a user will load it.
    few = data.test.take(0, 2).images_in_unit_range()
    best = load_logits_fn(run.best, few, num_classes=data.num_classes)
    found = judge_best(recipe, data, best, on_batch=stop_on_signal.check)
    _write_summary(recipe, data, run, found, clean_accuracy(best, data))
    return found


def best_is_largest(recipe: Recipe) -> str:
    """Returns the number of a validation by which the best model is chosen.

    That is the average margin; but of a network trained on clean images the accuracy,
    since its margins are largest while it has learnt little.
    """
    return "val_accuracy" if recipe.method == "standard" else AVERAGE_MARGIN


def validation_judgement(recipe: Recipe) -> Judgement:
    """Returns the attacks that choose the best model during training."""
    max_eps = recipe.max_eps_factor * recipe.d_max
    return Judgement(
        norm=recipe.norm,
        eps=recipe.test_eps,
        step_size=recipe.test_step_size,
        num_steps=recipe.test_attack_steps,
        max_eps=min(max_eps, 1.0) if recipe.norm == "linf" else max_eps,
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
        validation_judgement(recipe), num_restarts=CLOSING_RESTARTS
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


def _build(
    recipe: Recipe,
    data: ImageDataset,
    num_examples: int,
    strategy: tf.distribute.Strategy,
) -> RobustModel:
    replicas = strategy.num_replicas_in_sync
    if recipe.batch_size % replicas:
        raise UserError(
            f"Invalid `--batch_size`: expected a multiple of the {replicas} devices. "
            f"Received: --batch_size={recipe.batch_size}"
        )
    with strategy.scope():
        classifier = make_classifier(
            recipe, image_shape=data.image_shape, num_classes=data.num_classes
        )
        return make_trainable_model(
            recipe,
            classifier,
            image_shape=data.image_shape,
            num_examples=num_examples,
            jit_compile=xla_pays(strategy),
        )


def _note_versions(run: RunDirectory, say: Say) -> None:
    now = describe_versions()
    if not run.versions.exists():
        run.write_json(run.versions, now)
        return
    before = json.loads(run.versions.read_text("utf-8"))
    changed = [key for key, value in now.items() if before.get(key) != value]
    if changed:
        changes = ", ".join(f"{key} {before.get(key)} -> {now[key]}" for key in changed)
        say(f"This run was begun with other versions ({changes}).")


def _catch_up(
    model: RobustModel,
    step: int,
    records: list[dict[str, Any]],
    *callbacks: StepCallback,
) -> None:
    """Makes the validation that was due at `step` and cut short by a kill."""
    if any(line["step"] == step for line in records):
        return
    logs: dict[str, Any] = {}
    for callback in callbacks:
        callback.set_model(model)
        callback.step = step
        if step:
            callback.on_step_end(step, logs)


def _describe(
    recipe: Recipe, data: ImageDataset, step: int, validation: dict[str, float]
) -> dict[str, Any]:
    return {
        "input": {"shape": list(data.image_shape), "range": [0.0, 1.0]},
        "output": "logits",
        "class_names": list(data.class_names),
        "step": step,
        **validation,
        "recipe": dataclasses.asdict(recipe),
        "versions": describe_versions(),
    }


def _write_summary(
    recipe: Recipe,
    data: ImageDataset,
    run: RunDirectory,
    found: Robustness,
    test_accuracy: float,
) -> None:
    monitor = best_is_largest(recipe)
    best = max(run.read_validations(), key=lambda line: line[monitor])
    run.write_json(
        run.summary,
        {
            "train_steps": recipe.train_steps,
            "best_step": best["step"],
            "best_validation": best,
            "test_examples": found.num_examples,
            "attack": found.judgement.describe(),
            "judgement": dataclasses.asdict(found.judgement),
            "test": found.summary(),
            "all_test_examples": len(data.test),
            "test_accuracy": test_accuracy,
            "recipe": dataclasses.asdict(recipe),
            "versions": describe_versions(),
        },
    )
