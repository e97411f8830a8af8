"""Signs in a classifier that attacks say too little of it.

After Carlini et al., 2019 (arXiv 1902.06705), section 5, and the flags of AutoAttack.
"""

import numpy as np
import tensorflow as tf

from mma_tf.attacks.iterative import search
from mma_tf.attacks.pgd_search import PGD
from mma_tf.evaluation.predictor import Predictor, fill_up
from mma_tf.evaluation.results import Check
from mma_tf.evaluation.verification import misclassified
from mma_tf.losses.cross_entropy import cross_entropy
from mma_tf.losses.logit_margin import logit_margin_loss
from mma_tf.norms.registry import get_norm
from mma_tf.types import LogitsFn, NormName, Tensor

_SUM_TOLERANCE = 1e-3
# Of logits, in units of the largest one.
_REPEAT_TOLERANCE = 1e-4
_REPEATS = 3
# Of the examples.
_STILL_RIGHT_WITHOUT_LIMIT = 0.02
_UNLIMITED_STEPS = 50


def looks_like_probabilities(logits: np.ndarray) -> Check:
    """Returns whether outputs `[n, classes]` are in [0, 1] and add up to 1."""
    logits = logits.astype(np.float64)
    in_range = bool(np.all((logits >= 0) & (logits <= 1)))
    sums = logits.sum(axis=1)
    flagged = in_range and bool(np.allclose(sums, 1, atol=_SUM_TOLERANCE))
    return Check(
        name="outputs are logits",
        flagged=flagged,
        found=(
            f"Outputs lie in [{logits.min():.4g}, {logits.max():.4g}], and those of an "
            f"image add up to {sums.min():.4g} to {sums.max():.4g}."
        ),
        meaning=(
            "A softmax in the model saturates: gradients vanish where it is confident, "
            "and gradient attacks look weaker than they are."
        ),
        advice="Export the model without its softmax and judge that.",
    )


def is_random(logits_fn: LogitsFn, images: np.ndarray) -> Check:
    """Returns whether the same images get other logits when asked again."""
    outputs = np.stack([logits_fn(images) for _ in range(_REPEATS)]).astype(np.float64)
    scale = max(float(np.max(np.abs(outputs))), 1e-12)
    spread = float(np.max(np.ptp(outputs, axis=0))) / scale
    flagged = not spread <= _REPEAT_TOLERANCE
    return Check(
        name="the model is deterministic",
        flagged=flagged,
        found=f"Asked {_REPEATS} times, logits differ by {spread:.2g} of the largest.",
        meaning=(
            "A random model hides from attacks that ask it once for each step; its "
            "true accuracy under attack is lower."
        ),
        advice=(
            "Switch dropout and noise off in the exported model, or judge the average "
            "of many draws."
        ),
    )


def are_numbers(logits: np.ndarray) -> Check:
    """Returns whether some outputs `[n, classes]` are infinite or no numbers."""
    bad = int(np.sum(~np.all(np.isfinite(logits), axis=1)))
    return Check(
        name="outputs are finite",
        flagged=bad > 0,
        found=f"{bad} of {len(logits)} images get outputs that are not finite.",
        meaning="Such images count as errors, and no gradient can be taken there.",
        advice="Look for overflows in the model, as in half precision.",
    )


def gradients_vanish(
    logits_fn: LogitsFn, images: np.ndarray, labels: np.ndarray, batch_size: int
) -> Check:
    """Returns whether the logit margin has no gradient at some images.

    Args:
        logits_fn: Images to logits `[batch, classes]`.
        images: `[n, ...]` float32 in [0, 1], classified right.
        labels: `[n]`.
        batch_size: Images at a time.
    """

    @tf.function
    def zeros(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            tape.watch(images)
            logits = logits_fn(images)
            margin = logit_margin_loss(labels, logits)
            entropy = cross_entropy(labels, logits)
        axes = list(range(1, images.shape.rank))
        return tuple(
            ~tf.reduce_any(tape.gradient(values, images) != 0, axis=axes)
            for values in (margin, entropy)
        )

    counts = np.zeros(2, int)
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size]
        known = labels[start : start + batch_size].astype(np.int32)
        found = zeros(
            tf.constant(fill_up(batch, batch_size)),
            tf.constant(fill_up(known, batch_size)),
        )
        counts += [int(np.sum(part.numpy()[: len(batch)])) for part in found]
    return Check(
        name="gradients do not vanish",
        flagged=bool(counts[0] > 0),
        found=(
            f"Of {len(images)} images classified right, the gradient of the logit "
            f"margin is zero at {counts[0]}, that of cross-entropy at {counts[1]}."
        ),
        meaning=(
            "Where there is no gradient a gradient attack finds nothing, however "
            "fragile the model is: rounding and saturation mask gradients."
        ),
        advice=(
            "Trust the black-box attacks more, and judge the model with the masking "
            "part replaced by a smooth one (BPDA)."
        ),
    )


def _no_gradient() -> Check:
    return Check(
        name="gradients can be taken",
        flagged=True,
        found="The model gives no gradient: no attack on it took one.",
        meaning=(
            "Attacks that see gradients find far more; these figures are no match for "
            "those of other models."
        ),
        advice="Export the model with its gradients, or judge its Keras form.",
    )


def unlimited_attack_fails(
    logits_fn: LogitsFn,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    norm: NormName,
    seed: Tensor,
) -> Check:
    """Returns whether even a ball as large as the box leaves images right.

    Args:
        logits_fn: Images to logits `[batch, classes]`.
        images: `[n, ...]` float32 in [0, 1], classified right.
        labels: `[n]`.
        norm: "linf" or "l2".
        seed: Of the random starts.
    """
    eps = get_norm(norm).diameter(int(np.prod(images.shape[1:])))
    attack = PGD(norm, _UNLIMITED_STEPS, 2.5, "carlini_wagner")
    found = tf.function(
        lambda images, labels: search(
            attack, logits_fn, images, labels, eps=eps, seed=seed, stop_in_ball=True
        )
    )(tf.constant(images), tf.constant(labels, tf.int32))
    right = float(np.mean(~np.isfinite(found.size.numpy())))
    return Check(
        name="more eps lowers accuracy",
        flagged=right > _STILL_RIGHT_WITHOUT_LIMIT,
        found=(
            f"PGD-{_UNLIMITED_STEPS} at {norm} eps {eps:.3g}, the whole box, leaves "
            f"{100 * right:.1f} % of {len(images)} images right."
        ),
        meaning=(
            "With no limit on the change, every image can be turned into one of "
            "another class; an attack that does not get there is being misled."
        ),
        advice="Do not trust gradient attacks on this model; use suite black_box.",
    )


def model_checks(
    logits_fn: LogitsFn,
    predict: Predictor,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    norm: NormName,
    has_gradient: bool,
    batch_size: int,
    seed: Tensor,
) -> list[Check]:
    """Returns the checks that need no attack of a suite.

    Args:
        logits_fn: Images to logits `[batch, classes]`.
        predict: The same for numpy arrays.
        images: `[n, ...]` float32 in [0, 1], a batch of them.
        labels: `[n]`.
        norm: "linf" or "l2".
        has_gradient: Whether gradients can be taken.
        batch_size: Images at a time.
        seed: Of random starts.
    """
    logits = predict(images)
    checks = [
        looks_like_probabilities(logits),
        are_numbers(logits),
        is_random(predict, images),
    ]
    if not has_gradient:
        checks.append(_no_gradient())
    right = ~misclassified(labels, logits)
    if has_gradient and right.any():
        arguments = (logits_fn, images[right], labels[right])
        checks.append(gradients_vanish(*arguments, batch_size))
        checks.append(unlimited_attack_fails(*arguments, norm=norm, seed=seed))
    return checks
