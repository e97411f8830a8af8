"""Measures a case of `train_step.py` on both sides, in turns; imports no framework."""

import contextlib
import dataclasses
import os
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.train_step_cases import Case, parameters_of
from benchmarks.train_step_table import Row
from benchmarks.train_step_worker import Worker

# A thread pool spins for up to so long when it has nothing more to do.
_PAUSE_SECONDS = 0.3
# Of the machine, by other processes.
_MOST_OTHER_LOAD = 0.05


@dataclasses.dataclass(frozen=True)
class Machine:
    """Where both sides run.

    Attributes:
        peer_python: The interpreter with PyTorch.
        device: "cpu" or "gpu".
        threads: Processor cores for either side.
    """

    peer_python: str
    device: str
    threads: int

    @property
    def _environment(self) -> dict[str, str]:
        return {"CUDA_VISIBLE_DEVICES": "-1"} if self.device == "cpu" else {}

    @contextlib.contextmanager
    def ours(self) -> Iterator[tuple[Worker, dict[str, Any]]]:
        """Gives a worker of our side, and what it said of itself."""
        module = "benchmarks.train_step_ours"
        with Worker(sys.executable, module, self._environment, "sys.executable") as it:
            yield it, it.ask("hello", device=self.device)

    @contextlib.contextmanager
    def theirs(self) -> Iterator[tuple[Worker, dict[str, Any]]]:
        """Gives a worker of PyTorch's side, and what it said of itself."""
        environment = {**self._environment, "OMP_NUM_THREADS": str(self.threads)}
        module = "benchmarks.torch_train_step"
        with Worker(self.peer_python, module, environment, "--peer_python") as it:
            yield it, it.ask("hello", device=self.device, threads=self.threads)


@dataclasses.dataclass(frozen=True)
class Timing:
    """How long to measure.

    Attributes:
        pairs: How often both sides run.
        steps: Steps in a turn; None leaves it to the case.
        attack_repeats: How often AN-PGD runs alone.
    """

    pairs: int
    steps: int | None
    attack_repeats: int


class _OtherLoad:
    """How much of the machine other processes take, while a worker has it to itself."""

    def __init__(self) -> None:
        self._wall = 0.0
        self._elsewhere = 0.0

    @contextlib.contextmanager
    def beside(self, worker: Worker) -> Iterator[None]:
        """Counts what is computed elsewhere within the block."""
        started, before = time.perf_counter(), worker.others_seconds()
        yield
        self._wall += time.perf_counter() - started
        self._elsewhere += worker.others_seconds() - before

    @property
    def share(self) -> float:
        """Of the time of all cores, in [0, 1]."""
        return self._elsewhere / (self._wall * (os.cpu_count() or 1))


def measure(case: Case, machine: Machine, problem: Path, timing: Timing) -> Row:
    """Returns a case's line.

    Args:
        case: What to measure.
        machine: Where.
        problem: The npz of `make_problem`.
        timing: How long.
    """
    steps = timing.steps or case.steps_per_turn
    with contextlib.ExitStack() as stack:
        ours, _ = stack.enter_context(machine.ours())
        built = ours.ask(
            "prepare",
            case=dataclasses.asdict(case),
            path=str(problem),
            # The first, and one turn more than there are pairs.
            num_steps=1 + steps * (timing.pairs + 1),
        )
        sides, layouts = {"ours": ours}, {}
        for name, tune_layout in (("tuned", True), ("plain", False)):
            sides[name], _ = stack.enter_context(machine.theirs())
            layouts[name] = sides[name].ask(
                "prepare",
                parameters=parameters_of(case, timed=True),
                path=str(problem),
                is_training=case.is_training,
                order=built["order"],
                tune_layout=tune_layout,
            )["layout"]
        answers: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
        load = _OtherLoad()
        for pair in range(timing.pairs + 1):
            names = list(sides) if pair % 2 else list(reversed(sides))
            for name in names:
                time.sleep(_PAUSE_SECONDS)
                with load.beside(sides[name]):
                    answers[name].append(sides[name].ask("run", steps=steps))
        attack = None
        if case.is_training:
            with load.beside(ours):
                attack = ours.ask("an_pgd", repeats=timing.attack_repeats)
    if load.share > _MOST_OTHER_LOAD:
        print(
            f"{case.name}: other processes took {load.share:.0%} of the machine, which "
            "slows PyTorch more than us; measure again when it is idle.",
            file=sys.stderr,
        )
    # The first turn warms up.
    our, their, plain = (answers[name][1:] for name in sides)
    return Row(
        case=case,
        our_seconds=[answer["seconds"] for answer in our],
        their_seconds=[answer["seconds"] for answer in their],
        plain_seconds=[answer["seconds"] for answer in plain],
        our_right=our[-1]["right"],
        their_right=their[-1]["right"],
        our_eps=our[-1]["eps"],
        their_eps=their[-1]["eps"],
        their_layout=layouts["tuned"],
        first_step=built["first_step"],
        our_peak_bytes=our[-1]["peak_bytes"],
        their_peak_bytes=their[-1]["peak_bytes"],
        attack_seconds=statistics.median(attack["seconds"]) if attack else None,
        attack_operations=attack["operations"] if attack else None,
        convolution_peak=statistics.median(attack["peaks"]) if attack else None,
        other_load=load.share,
    )


def problem_of(case: Case, machine: Machine, cache: Path) -> Path:
    """Returns the npz with a case's network and images; makes it if there is none."""
    path = cache / f"{case.network}.npz"
    if not path.exists():
        print(f"Training a {case.network} for a moment ...", file=sys.stderr)
        with machine.ours() as (worker, _):
            answer = worker.ask("problem", network=case.network, path=str(path))
        print(f"{answer['right']:.1%} of its images are right.", file=sys.stderr)
    return path
