"""Evaluations that nobody made, with figures that are easy to count."""

import numpy as np

from mma_tf.evaluation.results import Check, Evaluation, Gallery, StageResult

NUM_EXAMPLES = 20
# Of twenty: three wrong as they are, two without an error found.
SIZES = np.array([0.0] * 3 + [0.01 * (k + 1) for k in range(15)] + [np.inf] * 2)
ATTACKS = ("apgd-ce", "square")


def make_check(*, flagged=False, eps=None):
    return Check(
        name="outputs are logits",
        flagged=flagged,
        found="Outputs lie in [0, 1].",
        meaning="A softmax saturates.",
        advice="Export the model without it.",
        eps=eps,
    )


def make_stage(name, eps, *, attacked, fooled, right, seed=5):
    is_square = name == "square"
    return StageResult(
        name=name,
        attack={"class": name.upper(), "norm": "linf", "limit": float("inf")},
        num_passes=9 if is_square else 1,
        targeted=is_square,
        source=None,
        seed=seed,
        eps=eps,
        num_attacked=attacked,
        num_fooled=fooled,
        accuracy=right / NUM_EXAMPLES,
        forward_passes=1000 * attacked,
        backward_passes=0 if is_square else 900 * attacked,
        seconds=1.5,
    )


def make_gallery(*, channels=1, shown=3, size=8):
    """The first with an error, the second without one, the third wrong as it is."""
    rng = np.random.default_rng(0)
    images = rng.uniform(0.3, 0.7, (shown, size, size, channels)).astype(np.float32)
    sizes = np.full(shown, 0.1)
    sizes[1:2], sizes[2:3] = np.inf, 0.0
    signs = rng.choice([-1, 1], images.shape)
    change = np.where(np.isfinite(sizes), sizes, 0).reshape(-1, 1, 1, 1) * signs
    return Gallery(
        indices=np.arange(shown) + 3,
        images=images,
        adversarial=(images + change).astype(np.float32),
        sizes=sizes,
        labels=np.arange(shown) % 3,
        predictions=(np.arange(shown) + 1) % 3,
    )


def make_evaluation(
    model="model", *, eps=(0.05, 0.1), sizes=SIZES, norm="linf", seed=5, **changes
):
    """Of each radius, apgd-ce breaks all but one of what is broken, square that one."""
    sizes = np.asarray(sizes)
    correct = sizes > 0
    robust = np.array([sizes > radius for radius in eps]).reshape(len(eps), len(sizes))
    stages, right = [], int(np.sum(correct))
    for radius, row in zip(eps, robust, strict=True):
        left = int(np.sum(row))
        first = max(right - left - 1, 0)
        for name, fooled in zip(ATTACKS, (first, right - left - first), strict=True):
            stages.append(
                make_stage(
                    name, radius, attacked=right, fooled=fooled, right=right - fooled
                )
            )
            right -= fooled
    if not eps:
        count = int(np.sum(correct))
        unknown = int(np.sum(np.isinf(sizes)))
        stages = [
            make_stage(name, None, attacked=count, fooled=7, right=unknown)
            for name in ATTACKS
        ]
    labels = np.arange(len(sizes)) % 3
    settings = {
        "model": model,
        "norm": norm,
        "suite": "autoattack" if eps else "margins",
        "eps": tuple(eps),
        "labels": labels,
        "predictions": np.where(correct, labels, (labels + 1) % 3),
        "correct": correct,
        "robust": robust,
        "fooled_by": np.where(robust, -1, 0) if eps else np.zeros((1, len(sizes))),
        "sizes": sizes,
        "stages": tuple(stages),
        "checks": (make_check(),),
        "gallery": make_gallery(),
        "seed": seed,
        "batch_size": 10,
        "num_shards": 1,
        "has_gradient": True,
        "seconds": 7.25,
    }
    return Evaluation(**{**settings, **changes})
