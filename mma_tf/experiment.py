"""A whole training: recipe and data in, a run directory with the best model out."""

import contextlib
import dataclasses
import json
import math
import sys
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from mma_tf.best_model import (
    best_is_largest,
    clean_accuracy,
    judge_best,
    validation_judgement,
)
from mma_tf.checkpoints import Checkpoints
from mma_tf.data.examples import Examples, ImageDataset
from mma_tf.data.pipelines import training_batches
from mma_tf.errors import RunError, UserError
from mma_tf.evaluation.robustness import Robustness
from mma_tf.export import (
    ARCHITECTURE,
    DESCRIPTION,
    architecture_of,
    export_classifier,
)
from mma_tf.load import load_logits_fn
from mma_tf.methods import make_classifier, make_schedule, make_trainable_model
from mma_tf.models.registry import NETWORKS
from mma_tf.recipes.schema import Recipe
from mma_tf.run_directory import RunDirectory
from mma_tf.strategy import xla_pays
from mma_tf.training.averaging import averaged_weights
from mma_tf.training.callbacks import (
    BestByMargin,
    Checkpointing,
    Interrupted,
    MarginValidation,
    PlainProgress,
    StopOnNonFinite,
    StopOnSignal,
    Throughput,
    TrainingTime,
)
from mma_tf.training.callbacks.step_callback import StepCallback
from mma_tf.training.robust_model import RobustModel
from mma_tf.versions import changed_versions, describe_versions

Say = Callable[[str], None]


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
        RunError: If the loss is not finite, or no checkpoint can be written.
        OSError: If another file of the run cannot be written.
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

    validate, keep_best = _choosing(
        recipe, data, validation, model, run, records, stop_on_signal
    )
    _catch_up(model, step, records, validate, keep_best)
    if step < recipe.train_steps:
        is_terminal = sys.stdout.isatty()
        training_time = TrainingTime(run.time, every_steps=recipe.save_every)
        callbacks = [
            Throughput(recipe.batch_size),
            training_time,
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
        ]
        try:
            model.fit(
                training_batches(
                    training,
                    batch_size=recipe.batch_size,
                    seed=recipe.seed,
                    num_steps=recipe.train_steps,
                    start_step=step,
                    augmentation=recipe.augmentation,
                    augmentation_pad=recipe.augmentation_pad,
                ),
                # One for the whole run: Keras epochs know no place to go on from.
                epochs=1,
                shuffle=False,
                verbose=int(is_terminal),
                callbacks=callbacks,
            )
        except (Interrupted, RunError, OSError):
            # On a full disk it cannot be told; the error itself is what matters.
            with contextlib.suppress(OSError):
                training_time.write()
            raise
    return _close(recipe, data, model, run, stop_on_signal, say)


def _choosing(
    recipe: Recipe,
    data: ImageDataset,
    validation: Examples,
    model: RobustModel,
    run: RunDirectory,
    records: list[dict[str, Any]],
    stop_on_signal: StopOnSignal,
) -> tuple[MarginValidation, BestByMargin]:
    """Returns what validates the model, and what exports the best one so far."""
    validate = MarginValidation(
        validation.images_in_unit_range(),
        validation.labels,
        validation_judgement(recipe, data.image_shape),
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
            model.classifier,
            run.best,
            _describe(recipe, data, model, at, {monitor: value}),
        ),
        best=_exported(run, records, monitor),
        monitor=monitor,
    )
    return validate, keep_best


def _close(
    recipe: Recipe,
    data: ImageDataset,
    model: RobustModel,
    run: RunDirectory,
    stop_on_signal: StopOnSignal,
    say: Say,
) -> Robustness:
    """Exports the last model, and judges the best one on test images."""
    monitor = best_is_largest(recipe)
    value = run.read_validations()[-1][monitor]
    with averaged_weights(model):
        export_classifier(
            model.classifier,
            run.last,
            _describe(recipe, data, model, recipe.train_steps, {monitor: value}),
        )
    say("Closing evaluation of the best model on the test images.")
    # What is judged is the SavedModel itself, as a user will load it.
    few = data.test.take(0, 2).images_in_unit_range()
    best = load_logits_fn(run.best, few, num_classes=data.num_classes)
    found = judge_best(recipe, data, best, on_batch=stop_on_signal.check)
    _write_summary(recipe, data, run, found, clean_accuracy(best, data))
    return found


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
    try:
        before = dict(json.loads(run.versions.read_text("utf-8")))
    except (TypeError, ValueError):
        say(f"{run.versions} is damaged and written anew.")
        run.write_json(run.versions, now)
        return
    if changes := changed_versions(before, now):
        say(f"This run was begun with other versions ({changes}).")


def _exported(run: RunDirectory, records: list[dict[str, Any]], monitor: str) -> float:
    """Returns the value of the best model that was exported, -inf if none was."""
    try:
        step = json.loads((run.best / DESCRIPTION).read_text("utf-8"))["step"]
    except (OSError, ValueError, KeyError, TypeError):
        return -math.inf
    # What came after the newest checkpoint is forgotten, and made again.
    return max(
        (line[monitor] for line in records if line["step"] <= step), default=-math.inf
    )


def _catch_up(
    model: RobustModel,
    step: int,
    records: list[dict[str, Any]],
    validate: StepCallback,
    keep_best: StepCallback,
) -> None:
    """Makes the validation, or the export, that a kill at `step` cut short."""
    done = [line for line in records if line["step"] == step]
    logs: dict[str, Any] = dict(done[-1]) if done else {}
    for callback in [keep_best] if done else [validate, keep_best]:
        callback.set_model(model)
        callback.step = step
        if step:
            callback.on_step_end(step, logs)


def _describe(
    recipe: Recipe,
    data: ImageDataset,
    model: RobustModel,
    step: int,
    validation: dict[str, float],
) -> dict[str, Any]:
    is_own = recipe.network not in NETWORKS
    return {
        "input": {"shape": list(data.image_shape), "range": [0.0, 1.0]},
        "output": "logits",
        "class_names": list(data.class_names),
        "step": step,
        **validation,
        "recipe": dataclasses.asdict(recipe),
        "versions": describe_versions(),
        # What `mma_tf.load_model` builds anew, without the user's file.
        **({ARCHITECTURE: architecture_of(model.classifier)} if is_own else {}),
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
