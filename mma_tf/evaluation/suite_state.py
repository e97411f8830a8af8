"""What a suite's run is at, in a file, so that it goes on after a kill."""

import json
import pathlib
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from mma_tf.array_files import write_arrays_atomically
from mma_tf.errors import UserError, reason_of
from mma_tf.evaluation.clock import Clock
from mma_tf.evaluation.outcomes import Outcomes
from mma_tf.evaluation.results import StageResult

_SLOTS, _ANSWERS = "slots/", "answers/"
# As the states of earlier versions have it, which can be gone on from.
_OUTCOMES = "records/"
# Of the largest logit: by how much a model may answer otherwise on another device, or
# among other images.
_SAME = 1e-3
# Logits of the models of an evaluation, by name.
Answers = Mapping[str, np.ndarray]


def write_state(
    path: pathlib.Path,
    fingerprint: str,
    *,
    answers: Answers,
    results: Sequence[StageResult],
    outcomes: Outcomes,
    clock: Clock,
    slots: Mapping[str, np.ndarray],
) -> None:
    """Writes all of it at once, or leaves what was there.

    Args:
        path: Of the file.
        fingerprint: Names the evaluation.
        answers: Logits of its models, by name.
        results: Of the attacks that are done.
        outcomes: What is known of each example.
        clock: Time so far.
        slots: What the attack under way is at; empty between two.

    Raises:
        OSError: If it cannot be written; the last state is intact.
    """
    meta = {
        "fingerprint": fingerprint,
        "results": [asdict(result) for result in results],
        "seconds": clock.seconds,
        "stage_seconds": clock.stage_seconds,
        "stage_right": clock.stage_right,
    }
    arrays = {"meta": np.array(json.dumps(meta))}
    arrays |= {_OUTCOMES + k: v for k, v in outcomes.arrays().items()}
    arrays |= {_SLOTS + k: v for k, v in slots.items()}
    arrays |= {_ANSWERS + k: v for k, v in answers.items()}
    write_arrays_atomically(path, arrays)


def read_state(
    path: pathlib.Path,
    fingerprint: str,
    *,
    answers: Answers,
    outcomes: Outcomes,
    clock: Clock,
) -> tuple[list[StageResult], dict[str, np.ndarray]]:
    """Puts outcomes and clock back, and returns the results and what an attack was at.

    Args:
        path: Of the file.
        fingerprint: Names the evaluation.
        answers: Logits of its models, by name.
        outcomes: They are changed.
        clock: It is changed.

    Raises:
        UserError: If the state is of another evaluation, or damaged.
    """
    try:
        # Opened here, since NumPy does not close a file that it cannot read.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as saved:
            arrays: dict[str, Any] = dict(saved)
        meta = json.loads(str(arrays["meta"]))
        known = meta["fingerprint"]
    except (KeyError, TypeError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(
            f"Invalid `save_to`: {path} is damaged or no state of an evaluation "
            f"({reason_of(error)}); remove it, or give an empty folder."
        ) from error
    saved_answers = _under(_ANSWERS, arrays)
    if known != fingerprint or not _are_same(answers, saved_answers):
        raise UserError(
            "Invalid `save_to`: expected an empty folder, or that of the same "
            f"evaluation. Received: save_to={path.parent}, which holds the "
            "state of another model, data or suite"
        )
    clock.seconds = meta["seconds"]
    clock.stage_seconds = meta["stage_seconds"]
    clock.stage_right = meta["stage_right"]
    outcomes.restore(_under(_OUTCOMES, arrays))
    results = [StageResult(**result) for result in meta["results"]]
    return results, _under(_SLOTS, arrays)


def _are_same(answers: Answers, others: Answers) -> bool:
    return answers.keys() == others.keys() and all(
        agree(answer, others[name]) for name, answer in answers.items()
    )


def agree(answer: np.ndarray, other: np.ndarray) -> bool:
    """Returns whether two arrays of logits are those of one model on one input."""
    if answer.shape != other.shape:
        return False
    largest = np.max(np.abs(answer), initial=0.0, where=np.isfinite(answer))
    return np.allclose(answer, other, rtol=0, atol=_SAME * largest, equal_nan=True)


def _under(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {
        key.removeprefix(prefix): value
        for key, value in arrays.items()
        if key.startswith(prefix)
    }
