"""The robustness of a classifier: a suite of attacks on examples, and what it says."""

import hashlib
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mma_tf.attacks.gradients import gives_gradient
from mma_tf.errors import UserError
from mma_tf.evaluation import sanity_checks, suite_checks
from mma_tf.evaluation.arguments import (
    ImageSource,
    check_labels,
    check_num_shards,
    checked_images,
    checked_radii,
)
from mma_tf.evaluation.predictor import Predictor
from mma_tf.evaluation.progress import Progress
from mma_tf.evaluation.referee import Referee
from mma_tf.evaluation.results import Check, Evaluation
from mma_tf.evaluation.shards import ShardedRun, SuiteResult
from mma_tf.evaluation.subject import Subject
from mma_tf.evaluation.suite_state import agree
from mma_tf.evaluation.suites import Stage, make_stages
from mma_tf.evaluation.tables import PrintableEvaluation
from mma_tf.evaluation.targets import ranked_targets
from mma_tf.evaluation.verification import misclassified
from mma_tf.inputs import flat_labels
from mma_tf.models.inference import (
    InferenceLogits,
    UnitRangeLogits,
    at_least_float32,
    inference_logits_fn,
)
from mma_tf.noise import fold_in
from mma_tf.types import LogitsFn, NormName, Tensor

# Of the examples, for the sanity checks.
_NUM_CHECKED = 250
# Seeds of the sanity checks, apart from those of the stages, numbered from 0.
_CHECK_SEED = 1_000_000


def evaluate(
    logits_fn: LogitsFn | keras.Model,
    images: ImageSource | np.ndarray,
    labels: np.ndarray,
    *,
    norm: NormName,
    eps: float | Sequence[float] = (),
    suite: str = "autoattack",
    model: str = "model",
    seed: int = 0,
    batch_size: int = 250,
    transfer_from: Mapping[str, LogitsFn | keras.Model] | None = None,
    has_gradient: bool = True,
    pgd_step: float | None = None,
    run_checks: bool = True,
    save_to: str | pathlib.Path | None = None,
    num_shards: int = 1,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Evaluation:
    """Returns how robust a classifier is, as far as a suite of attacks can tell.

    An example counts as robust only if it is classified right and every attack fails on
    it. Each attack meets only what is still right, in full batches, and each error is
    checked again, apart from the attack: that it is in ball and box and misclassified.
    What is found are upper bounds: another attack may find more.

    Args:
        logits_fn: Images `[batch, height, width, channels]` in [0, 1] to logits
            `[batch, classes]`, in inference mode; or a Keras model, which is put into
            that mode.
        images: `[examples, height, width, channels]`, floating, in [0, 1].
        labels: `[examples]`, whole numbers in [0, classes).
        norm: "linf" or "l2".
        eps: A radius, or several, > 0, in pixel units; none for suite "margins".
        suite: See `mma_tf.evaluation.suites.make_stages`.
        model: What the model is called in reports.
        seed: From which all random numbers come, for each example its own.
        batch_size: Examples attacked at a time.
        transfer_from: Models, by name, whose adversarial images are tried first; none
            for suite "margins".
        has_gradient: Whether gradients can be taken; without, the black-box attacks
            take the place of the suite, if it is not "transfer".
        pgd_step: Length of the steps of suite "paper" and of the PGD on
            `transfer_from`, in units of eps; None for 1/4.
        run_checks: Whether to look for signs that the figures cannot be trusted.
        save_to: A folder where the state is saved twice a minute, made if need be: the
            same call goes on from there after a kill, and ends with the same figures.
        num_shards: Parts of the examples, which are judged one after the other. Several
            processes that make the same call with the same `save_to` divide them
            between them, and each returns the whole. Each example meets the attacks
            that it would meet without shards. It is left alone after the first error,
            and where few examples fill a batch several of its passes run at once: which
            error is found, and `sizes` with it, may be another.
        on_progress: Told where the evaluation is; may raise to stop.

    Raises:
        UserError: If an argument is not as said here.
        ValueError: If labels are not of shape `[examples]` or `[examples, 1]`.
        OSError: If the state cannot be saved.
    """
    logits_fn = _bound(logits_fn)
    labels = flat_labels(np.asarray(labels))
    if isinstance(images, tf.Tensor | list):
        images = np.asarray(images)
    radii = checked_radii(eps, suite, norm, images.shape)
    fetch, sha256 = checked_images(images, labels, batch_size)
    check_num_shards(num_shards, len(labels))
    predict = Predictor(logits_fn, min(batch_size, len(labels)))
    logits = _logits(predict, fetch, len(labels), batch_size)
    num_classes = logits.shape[1]
    check_labels(labels, num_classes)
    sources = {name: _bound(fn) for name, fn in (transfer_from or {}).items()}
    stages = make_stages(
        suite,
        norm=norm,
        num_classes=num_classes,
        has_gradient=has_gradient,
        sources=tuple(sources),
        pgd_step=pgd_step,
    )
    first = np.arange(min(batch_size, len(labels)))
    if has_gradient and not gives_gradient(logits_fn, tf.constant(fetch(first[:2]))):
        raise UserError(
            "Invalid `has_gradient`: expected False for a function that gives no "
            "gradient, which the black-box attacks are for. Received: "
            "has_gradient=True"
        )
    correct = ~misclassified(labels, logits)
    predictions = np.argmax(logits, axis=1)
    subject = Subject(
        model=model,
        logits_fn=logits_fn,
        sources=sources,
        fetch=fetch,
        labels=labels.astype(np.int32),
        targets=ranked_targets(labels, logits, num_classes - 1),
        norm=norm,
        eps=radii,
        seed=seed,
        batch_size=batch_size,
        fingerprint=_fingerprint(
            stages, labels, sha256, norm, radii, seed, batch_size, model
        ),
        answers=_answers(predict, logits, sources, fetch(first)),
    )
    found = ShardedRun(
        subject,
        stages,
        correct,
        predictions,
        Referee(logits_fn, predict, norm=norm, batch_size=batch_size),
        num_shards=num_shards,
        save_to=None if save_to is None else pathlib.Path(save_to),
        on_progress=on_progress,
    ).run()
    checks = _checks(subject, found, predict, has_gradient) if run_checks else []
    outcomes = found.outcomes
    return PrintableEvaluation(
        model=model,
        norm=norm,
        suite=suite,
        eps=radii,
        labels=labels,
        predictions=outcomes.predictions,
        correct=outcomes.correct,
        robust=outcomes.robust[: len(radii)],
        fooled_by=outcomes.fooled_by,
        sizes=outcomes.sizes,
        stages=found.stages,
        checks=tuple(checks),
        gallery=outcomes.gallery(labels),
        seed=seed,
        batch_size=batch_size,
        num_shards=num_shards,
        has_gradient=has_gradient,
        seconds=found.seconds,
    )


def estimate_margins(
    logits_fn: LogitsFn | keras.Model,
    images: ImageSource | np.ndarray,
    labels: np.ndarray,
    *,
    norm: NormName,
    **options: Any,
) -> Evaluation:
    """Returns upper bounds of the margins, `sizes` of the result, `[examples]`.

    The least over FAB, FMN, DDN (l2) and AN-PGD with restarts, each brought as near to
    the image as the line to it allows, from the adversarial end, and checked.

    Args:
        logits_fn: As of `evaluate`.
        images: As of `evaluate`.
        labels: As of `evaluate`.
        norm: "linf" or "l2".
        **options: Further arguments of `evaluate`.

    Raises:
        UserError: If an argument is not as said there.
    """
    return evaluate(logits_fn, images, labels, norm=norm, suite="margins", **options)


def _bound(classifier: LogitsFn | keras.Model) -> LogitsFn:
    if isinstance(classifier, keras.Model):
        return inference_logits_fn(classifier)
    if isinstance(classifier, InferenceLogits | UnitRangeLogits):
        return classifier
    return lambda images: at_least_float32(classifier(images))


def _logits(
    predict: Predictor,
    fetch: Callable[[np.ndarray], np.ndarray],
    number: int,
    batch_size: int,
) -> np.ndarray:
    chunks = [
        predict(fetch(np.arange(start, min(start + batch_size, number))))
        for start in range(0, number, batch_size)
    ]
    logits = np.concatenate(chunks)
    if logits.ndim != 2 or len(logits) != number:
        raise UserError(
            "Invalid `logits_fn`: expected logits [batch, classes]. Received: shape "
            f"{logits.shape} for {number} images"
        )
    return logits


def _answers(
    predict: Predictor,
    logits: np.ndarray,
    sources: Mapping[str, LogitsFn],
    first: np.ndarray,
) -> dict[str, np.ndarray]:
    """Returns by what an evaluation knows its models again, as they have no hash.

    Args:
        predict: The model.
        logits: What it answered for all images.
        sources: Models that adversarial images come from.
        first: The first images, as many as a batch has.
    """
    answers = {}
    # One that answers otherwise each time cannot be known again.
    if agree(predict(first), logits[: len(first)]):
        answers["model"] = logits
    for name, source in sources.items():
        answer, again = (np.asarray(source(tf.constant(first))) for _ in range(2))
        if agree(answer, again):
            answers[f"source {name}"] = answer
    return answers


def _fingerprint(stages: Sequence[Stage], labels: np.ndarray, *settings: Any) -> str:
    described = [(s.name, s.parameters(), s.num_passes, s.source) for s in stages]
    text = json.dumps([described, settings], default=str)
    digest = hashlib.sha256(text.encode())
    digest.update(labels.astype(np.int64).tobytes())
    return digest.hexdigest()


def _checks(
    subject: Subject,
    suite: SuiteResult,
    predict: Predictor,
    has_gradient: bool,
) -> list[Check]:
    outcomes, eps = suite.outcomes, subject.eps
    seed = fold_in(subject.seed, _CHECK_SEED)
    some = np.arange(min(_NUM_CHECKED, len(subject.labels), subject.batch_size))
    checks = sanity_checks.model_checks(
        subject.logits_fn,
        predict,
        subject.fetch(some),
        subject.labels[some],
        norm=subject.norm,
        has_gradient=has_gradient,
        batch_size=len(some),
        seed=seed,
    )
    checks.append(suite_checks.left_the_ball(outcomes.num_outside, outcomes.num_denied))
    if eps:
        found = suite_checks.grid_does_not_fall(eps, outcomes.robust, outcomes.correct)
        checks += [found] if found else []
        wins = suite_checks.black_box_wins(suite.stages, len(subject.labels))
        # Where no gradient of this model was taken, none can have misled.
        if not wins and suite_checks.took_gradients(suite.stages):
            wins = _probes(subject, outcomes.robust, seed)
        checks += wins
    return checks


def _probes(subject: Subject, robust: np.ndarray, seed: Tensor) -> list[Check]:
    """Returns what a short black-box attack finds at each radius."""
    checks = []
    for eps, left in zip(subject.eps, robust, strict=True):
        index = np.flatnonzero(left)[: min(_NUM_CHECKED, subject.batch_size)]
        if len(index):
            checks.append(
                suite_checks.black_box_probe(
                    subject.logits_fn,
                    subject.fetch(index),
                    subject.labels[index],
                    norm=subject.norm,
                    eps=eps,
                    seed=seed,
                )
            )
    return checks
