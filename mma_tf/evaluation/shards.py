"""The examples of an evaluation in shards, which several processes may share."""

import contextlib
import dataclasses
import pathlib
import time
from collections.abc import Callable, Sequence

import numpy as np

from mma_tf.evaluation.outcomes import Outcomes
from mma_tf.evaluation.progress import Progress
from mma_tf.evaluation.referee import Referee
from mma_tf.evaluation.results import StageResult
from mma_tf.evaluation.streams import Streams
from mma_tf.evaluation.subject import Subject
from mma_tf.evaluation.suite_run import SuiteRun
from mma_tf.evaluation.suites import Stage
from mma_tf.locks import held

# How long to wait before looking again for a shard that nobody is at.
_POLL_SECONDS = 1.0


@dataclasses.dataclass(frozen=True)
class SuiteResult:
    """What a suite found.

    Attributes:
        outcomes: Of each example.
        stages: The attacks, those of one shard after another taken together.
        seconds: Wall time, that of all shards and of killed runs added up.
    """

    outcomes: Outcomes
    stages: tuple[StageResult, ...]
    seconds: float


class ShardedRun:
    """A suite of attacks on a subject, shard by shard.

    Each shard has a folder with a state and a lock of its own. A process takes the
    first shard that is not done and that no other is at, and ends when all are done:
    the processes of one evaluation need not know of each other, and one that is killed
    leaves its shard to the others.

    Args:
        subject: What is judged.
        stages: The attacks, in their order.
        correct: `[examples]` whether the clean image is classified right.
        predictions: `[examples]` of the clean images.
        referee: Who rules on what they claim.
        num_shards: Parts of the examples, as equal as can be; at most one an example.
        save_to: A folder for the states, made if need be; None: not saved, and not
            shared with other processes.
        on_progress: Told where the evaluation is; may raise to stop.
    """

    def __init__(
        self,
        subject: Subject,
        stages: Sequence[Stage],
        correct: np.ndarray,
        predictions: np.ndarray,
        referee: Referee,
        *,
        num_shards: int,
        save_to: pathlib.Path | None,
        on_progress: Callable[[Progress], None],
    ) -> None:
        self._subject = subject
        self._stages = stages
        self._correct = correct
        self._predictions = predictions
        self._streams = Streams(subject)
        self._referee = referee
        self._save_to = save_to
        self._on_progress = on_progress
        number = len(subject.labels)
        self._starts = [number * at // num_shards for at in range(num_shards + 1)]

    def run(self) -> SuiteResult:
        """Makes all attacks that are not made yet, here or by other processes.

        Raises:
            UserError: If what was saved is of another evaluation.
            OSError: If a state cannot be saved; that of the last time is intact.
        """
        num_shards = len(self._starts) - 1
        done: dict[int, SuiteRun] = {}
        while len(done) < num_shards:
            for shard in range(num_shards):
                if shard not in done and (run := self._run_shard(shard)) is not None:
                    done[shard] = run
                    break
            else:
                self._wait(len(done) / num_shards)
        runs = [done[shard] for shard in range(num_shards)]
        parts = [run.outcomes for run in runs]
        outcomes = self._outcomes(
            self._subject,
            np.concatenate([part.correct for part in parts]),
            np.concatenate([part.predictions for part in parts]),
        )
        for start, part in zip(self._starts[:-1], parts, strict=True):
            outcomes.take_over(start, part)
        return SuiteResult(
            outcomes=outcomes,
            stages=tuple(
                _together(results, np.diff(self._starts))
                for results in zip(*(run.results for run in runs), strict=True)
            ),
            seconds=sum(run.seconds for run in runs),
        )

    def _run_shard(self, shard: int) -> SuiteRun | None:
        """Runs a shard to its end; returns None if another process is at it."""
        start, stop = self._starts[shard], self._starts[shard + 1]
        num_shards = len(self._starts) - 1
        subject, folder = self._subject, self._save_to
        with contextlib.ExitStack() as stack:
            if num_shards > 1:
                subject = subject.part(start, stop)
                if folder is not None:
                    folder = folder / f"shard-{shard + 1}-of-{num_shards}"
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
                if not stack.enter_context(held(folder / ".lock")):
                    return None
            run = SuiteRun(
                subject,
                self._stages,
                self._outcomes(
                    subject, self._correct[start:stop], self._predictions[start:stop]
                ),
                self._streams,
                self._referee,
                save_to=folder,
                on_progress=lambda progress: self._on_progress(
                    dataclasses.replace(
                        progress, shard=shard + 1, num_shards=num_shards
                    )
                ),
            )
            run.run()
        return run

    def _outcomes(
        self, subject: Subject, correct: np.ndarray, predictions: np.ndarray
    ) -> Outcomes:
        return Outcomes(correct, predictions, subject.fetch, radii=subject.eps)

    def _wait(self, share_done: float) -> None:
        self._on_progress(
            Progress(
                model=self._subject.model,
                stage="waiting for other processes",
                eps=None,
                pass_number=1,
                num_passes=1,
                share_done=share_done,
                share_right=float(np.mean(self._correct)),
                seconds_left=None,
                is_end=False,
            )
        )
        time.sleep(_POLL_SECONDS)


def _together(parts: Sequence[StageResult], sizes: np.ndarray) -> StageResult:
    """Returns an attack on all examples, from the same attack on each shard.

    Args:
        parts: What it found in each.
        sizes: How many examples each has.
    """
    right = sum(
        round(part.accuracy * size) for part, size in zip(parts, sizes, strict=True)
    )

    def total(name: str) -> int:
        return sum(getattr(part, name) for part in parts)

    return dataclasses.replace(
        parts[0],
        num_attacked=total("num_attacked"),
        num_fooled=total("num_fooled"),
        accuracy=right / int(np.sum(sizes)),
        forward_passes=total("forward_passes"),
        backward_passes=total("backward_passes"),
        seconds=sum(part.seconds for part in parts),
    )
