"""Checks what attacks claim, and brings their errors nearer to the images."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from mma_tf.attacks.iterative import Found
from mma_tf.attacks.shorten import shorten
from mma_tf.devices import has_gpu
from mma_tf.evaluation.predictor import Predictor, fill_up
from mma_tf.evaluation.verification import Verdict, verify
from mma_tf.types import LogitsFn, NormName


class Ruling(NamedTuple):
    """What became of points that were tried.

    Attributes:
        verdict: On each point as it came.
        sure: `[n]` which of them are errors where they were said to be.
        points: `[errors, ...]` those, brought nearer.
        nearer: The verdict on `points`.
    """

    verdict: Verdict
    sure: np.ndarray
    points: np.ndarray
    nearer: Verdict


class Referee:
    """Judges points by the classifier's own answers, apart from the attacks.

    Args:
        logits_fn: Images to logits `[batch, classes]`, in inference mode.
        predict: The same for numpy arrays.
        norm: "linf" or "l2".
        batch_size: Images at a time.
    """

    def __init__(
        self,
        logits_fn: LogitsFn,
        predict: Predictor,
        *,
        norm: NormName,
        batch_size: int,
    ) -> None:
        self._predict = predict
        self._norm = norm
        self._batch_size = batch_size
        self._shorten = tf.function(
            lambda images, labels, found: shorten(
                logits_fn, images, labels, found, norm=norm
            ),
            jit_compile=has_gpu(),
        )

    def judge(
        self,
        points: np.ndarray,
        images: np.ndarray,
        labels: np.ndarray,
        claim: np.ndarray,
    ) -> Ruling:
        """Returns which points are errors, and errors no farther away.

        Args:
            points: `[n, ...]` float32.
            images: `[n, ...]` float32, what was attacked.
            labels: `[n]`.
            claim: `[n]` how far the points are from the images at most.
        """
        verdict = self._verify(points, images, labels, claim)
        sure = verdict.inside & verdict.error
        errors, distance = points[sure], verdict.distance[sure]
        as_they_came = Verdict(*(part[sure] for part in verdict))
        if not sure.any():
            return Ruling(verdict, sure, errors, as_they_came)
        images, labels = images[sure], labels[sure]
        moved = self._shortened(images, labels, errors, distance)
        found = self._verify(moved, images, labels, distance)
        # A model that answers otherwise when asked again keeps the error that it made.
        holds = found.inside & found.error
        shape = [-1] + [1] * (errors.ndim - 1)
        nearer = Verdict(
            *(
                np.where(holds, new, old)
                for new, old in zip(found, as_they_came, strict=True)
            )
        )
        return Ruling(
            verdict, sure, np.where(holds.reshape(shape), moved, errors), nearer
        )

    def _verify(
        self,
        points: np.ndarray,
        images: np.ndarray,
        labels: np.ndarray,
        eps: np.ndarray,
    ) -> Verdict:
        logits = self._predict(points)
        return verify(points, images, labels, logits, norm=self._norm, eps=eps)

    def _shortened(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        points: np.ndarray,
        sizes: np.ndarray,
    ) -> np.ndarray:
        size = self._batch_size
        parts = []
        for start in range(0, len(images), size):
            chunk = slice(start, start + size)
            found = Found(
                tf.constant(fill_up(points[chunk], size)),
                tf.constant(fill_up(sizes[chunk].astype(np.float32), size)),
            )
            nearer = self._shorten(
                tf.constant(fill_up(images[chunk], size)),
                tf.constant(fill_up(labels[chunk].astype(np.int32), size)),
                found,
            )
            parts.append(nearer.images.numpy()[: len(points[chunk])])
        return np.concatenate(parts)
