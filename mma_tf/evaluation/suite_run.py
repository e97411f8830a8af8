"""Runs a suite of attacks, so that a killed run goes on where it was."""

import pathlib
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from mma_tf.attacks.iterative import FIRST_RADIUS
from mma_tf.evaluation.clock import Clock
from mma_tf.evaluation.outcomes import Outcomes
from mma_tf.evaluation.progress import Progress
from mma_tf.evaluation.referee import Referee
from mma_tf.evaluation.results import StageResult
from mma_tf.evaluation.slots import Slots, Work
from mma_tf.evaluation.streams import Streams
from mma_tf.evaluation.subject import Subject
from mma_tf.evaluation.suite_state import read_state, write_state
from mma_tf.evaluation.suites import Stage
from mma_tf.noise import fold_in
from mma_tf.norms.registry import get_norm

STATE_FILE = "state.npz"
_SAVE_SECONDS = 30.0


class SuiteRun:
    """The attacks of a suite on a subject, from the start or from what was saved.

    Args:
        subject: What is judged.
        stages: The attacks, in their order.
        outcomes: What is known of each example; changed by `run`.
        streams: The attacks, bound to the subject's classifiers.
        referee: Who rules on what they claim.
        save_to: A folder for the state, made if need be; None: not saved.
        on_progress: Told where the evaluation is; may raise to stop.
    """

    def __init__(
        self,
        subject: Subject,
        stages: Sequence[Stage],
        outcomes: Outcomes,
        streams: Streams,
        referee: Referee,
        *,
        save_to: pathlib.Path | None,
        on_progress: Callable[[Progress], None],
    ) -> None:
        self._subject = subject
        self._stages = stages
        self._path = None if save_to is None else save_to / STATE_FILE
        self._on_progress = on_progress
        self._streams = streams
        self._referee = referee
        self._clock = Clock()
        self._saved_at = time.monotonic()
        self.outcomes = outcomes
        self.results: list[StageResult] = []

    @property
    def seconds(self) -> float:
        """Wall time so far, that of killed runs included."""
        return self._clock.seconds

    def run(self) -> None:
        """Makes all attacks that are not made yet.

        Raises:
            UserError: If what was saved is of another evaluation.
            OSError: If the state cannot be saved; that of the last time is intact.
        """
        slots = self._restore()
        number = 0
        for level, eps in enumerate(self._subject.eps or (None,)):
            for stage in self._stages:
                if number == len(self.results):
                    if slots is None:
                        self._begin_stage(level)
                    self._run_stage(number, level, eps, stage, slots)
                    slots = None
                number += 1

    def _begin_stage(self, level: int) -> None:
        self._clock.stage_seconds = 0.0
        self._clock.stage_right = self._num_open(level)

    def _run_stage(
        self,
        number: int,
        level: int,
        eps: float | None,
        stage: Stage,
        saved: Mapping[str, np.ndarray] | None,
    ) -> None:
        subject, outcomes = self._subject, self.outcomes
        work = self._work(number, level, eps, stage, saved)
        evaluated = 0
        is_margin = eps is None

        def is_solved(examples: np.ndarray) -> np.ndarray:
            # A nearer error may always be found.
            if is_margin:
                return np.zeros(len(examples), bool)
            return ~outcomes.robust[level, examples]

        def report(
            examples: np.ndarray, points: np.ndarray, sizes: np.ndarray
        ) -> np.ndarray:
            return self._judge(number, eps, stage, examples, points, sizes)

        def on_round(slots: Slots) -> None:
            nonlocal evaluated
            self._count(stage, slots.num_evaluated - evaluated)
            evaluated = slots.num_evaluated
            self._tell(level, eps, stage, slots, work)
            if time.monotonic() - self._saved_at > _SAVE_SECONDS:
                self._save(slots.arrays() | {"todo": work.todo, "eps": work.eps})

        if saved is not None:
            evaluated = int(saved["num_evaluated"])
        if len(work.todo):
            self._streams.of(stage).run(
                work,
                is_solved=is_solved,
                report=report,
                on_round=on_round,
                saved=saved,
            )
        self._clock.tick()
        right = self._num_open(level)
        fooled = self._clock.stage_right - right
        if is_margin:
            fooled = int(np.sum(outcomes.fooled_by[level] == number))
            right = int(np.sum(outcomes.correct & np.isinf(outcomes.sizes)))
        self.results.append(
            StageResult(
                name=stage.name,
                attack=stage.parameters(),
                num_passes=stage.num_passes,
                targeted=stage.targeted,
                source=stage.source,
                seed=subject.seed,
                eps=eps,
                num_attacked=len(work.todo),
                num_fooled=fooled,
                accuracy=right / len(subject.labels),
                forward_passes=evaluated * stage.attack.forward_passes,
                backward_passes=evaluated * stage.attack.backward_passes,
                seconds=self._clock.stage_seconds,
            )
        )
        self._save({})
        self._tell(level, eps, stage, None, work)

    def _work(
        self,
        number: int,
        level: int,
        eps: float | None,
        stage: Stage,
        saved: Mapping[str, np.ndarray] | None,
    ) -> Work:
        subject = self._subject
        if saved is not None:
            todo, radii = saved["todo"], saved["eps"]
        elif eps is None:
            todo = np.flatnonzero(self.outcomes.correct)
            num_pixels = int(np.prod(subject.fetch(np.zeros(1, int)).shape[1:]))
            unknown = FIRST_RADIUS * get_norm(subject.norm).diameter(num_pixels)
            known = np.isfinite(self.outcomes.sizes)
            radii = np.where(known, self.outcomes.sizes, unknown)
        else:
            todo = np.flatnonzero(self.outcomes.robust[level])
            radii = np.full(len(subject.labels), eps)
        targets = subject.targets[:, : stage.num_passes]
        if not stage.targeted:
            targets = np.repeat(targets[:, :1], stage.num_passes, axis=1)
        return Work(
            fetch=subject.fetch,
            labels=subject.labels,
            todo=todo,
            eps=radii,
            targets=targets,
            seed=fold_in(subject.seed, number),
            first=subject.first,
        )

    def _judge(
        self,
        number: int,
        eps: float | None,
        stage: Stage,
        examples: np.ndarray,
        points: np.ndarray,
        sizes: np.ndarray,
    ) -> np.ndarray:
        """Checks points again, brings errors nearer, notes those, and tells which."""
        subject = self._subject
        # A minimum-norm attack's error outside the ball claims to be at its distance.
        claim = sizes if eps is None else np.maximum(sizes, eps)
        is_claimed = stage.source is None
        if not is_claimed:
            claim = np.full(len(examples), eps)
        ruling = self._referee.judge(
            points, subject.fetch(examples), subject.labels[examples], claim
        )
        if is_claimed:
            self.outcomes.refuse(ruling.verdict)
        self.outcomes.note(number, examples[ruling.sure], ruling.points, ruling.nearer)
        return ruling.sure

    def _num_open(self, level: int) -> int:
        return int(np.sum(self.outcomes.robust[level]))

    def _count(self, stage: Stage, evaluated: int) -> None:
        attack = stage.attack
        per_step = attack.forward_passes + 2 * attack.backward_passes
        self._clock.work_seconds += self._clock.tick()
        self._clock.work += evaluated * per_step

    def _tell(
        self,
        level: int,
        eps: float | None,
        stage: Stage,
        slots: Slots | None,
        work: Work,
    ) -> None:
        num_examples = len(self._subject.labels)
        attack = stage.attack
        per_step = attack.forward_passes + 2 * attack.backward_passes
        right = self._num_open(level)
        left = 0
        if slots is not None:
            left = slots.steps_left(attack.num_iterations) * per_step
        whole = max(len(work.todo) * stage.cost, 1)
        done = 1 - left / whole
        # As if no further example were broken: an upper bound. Margins are searched of
        # every example.
        to_come = right if self._subject.eps else int(np.sum(self.outcomes.correct))
        at = self._stages.index(stage)
        later = to_come * sum(s.cost for s in self._stages[at + 1 :])
        radii_left = max(len(self._subject.eps), 1) - level - 1
        later += radii_left * to_come * sum(s.cost for s in self._stages)
        speed = self._clock.work / max(self._clock.work_seconds, 1e-9)
        self._on_progress(
            Progress(
                model=self._subject.model,
                stage=stage.name,
                eps=eps,
                pass_number=min(slots.waiting[0] + 1, stage.num_passes)
                if slots is not None
                else stage.num_passes,
                num_passes=stage.num_passes,
                share_done=min(max(done, 0.0), 1.0),
                share_right=right / num_examples,
                seconds_left=(left + later) / speed if speed > 0 else None,
                is_end=slots is None,
            )
        )

    def _save(self, slots: Mapping[str, np.ndarray]) -> None:
        self._saved_at = time.monotonic()
        if self._path is None:
            return
        self._clock.tick()
        write_state(
            self._path,
            self._subject.fingerprint,
            answers=self._subject.answers,
            results=self.results,
            outcomes=self.outcomes,
            clock=self._clock,
            slots=slots,
        )

    def _restore(self) -> Mapping[str, np.ndarray] | None:
        """Puts back what was saved; returns what an attack was at, if in its midst."""
        if self._path is None:
            return None
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if not self._path.exists():
            return None
        self.results, slots = read_state(
            self._path,
            self._subject.fingerprint,
            answers=self._subject.answers,
            outcomes=self.outcomes,
            clock=self._clock,
        )
        return slots or None
