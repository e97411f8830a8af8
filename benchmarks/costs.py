"""How the costs of a training step grow, and whether it ever waits for its data.

    .venv/bin/python -m benchmarks.costs --picture=benchmarks/costs.png \
        --write_readme=benchmarks/README.md

The time of a step against attack steps, batch, dataset size (which it must not depend
on) and logical devices; the share of it that is spent on waiting for the next batch;
the memory after each epoch. Each point has a process of its own; the points of a sweep
take turns, so that what else the machine does hits all of them.
"""

import argparse
import contextlib
import dataclasses
import datetime
import statistics
import sys
from pathlib import Path
from typing import Any

from benchmarks.arguments import positive
from benchmarks.costs_picture import draw
from benchmarks.costs_points import EPOCHS, NUM_EPOCHS, PIPELINES, SWEEPS, Point
from benchmarks.train_step_table import check_section, write_section
from benchmarks.train_step_worker import Mistake, Worker, WorkerError
from mma_tf.versions import describe_versions, processor

_MARK = "costs"
_WAITING_STEPS = 30
_MODULE = "benchmarks.costs_worker"


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--turns", type=positive, default=5, help="of each point")
    parser.add_argument("--picture", type=Path, help="PNG file to draw")
    parser.add_argument(
        "--write_readme",
        type=Path,
        metavar="PATH",
        help="file to write the tables into, between its two marks",
    )
    return parser.parse_args()


def _worker(stack: contextlib.ExitStack, point: Point) -> Worker:
    worker = stack.enter_context(Worker(sys.executable, _MODULE, {}, "sys.executable"))
    worker.ask("prepare", point=dataclasses.asdict(point))
    return worker


def _sweep(points: list[tuple[int, Point]], turns: int) -> list[tuple[int, float]]:
    """Returns the seconds of a step at each value, the medians of the turns."""
    with contextlib.ExitStack() as stack:
        workers = [(_worker(stack, point), point.steps) for _, point in points]
        seconds: list[list[float]] = [[] for _ in points]
        for _ in range(turns):
            for (worker, steps), found in zip(workers, seconds, strict=True):
                found.append(worker.ask("run", steps=steps)["seconds"])
    values = (value for value, _ in points)
    return list(zip(values, map(statistics.median, seconds), strict=True))


def _waiting(point: Point) -> dict[str, Any]:
    with contextlib.ExitStack() as stack:
        return _worker(stack, point).ask("wait", steps=_WAITING_STEPS)


def _memory(point: Point, num_epochs: int) -> list[float]:
    """Returns the resident memory after each epoch, in GiB; nothing if unknown."""
    with contextlib.ExitStack() as stack:
        worker = _worker(stack, point)
        sizes = [
            worker.ask("run", steps=point.steps)["resident_bytes"]
            for _ in range(num_epochs)
        ]
    return [size / 2**30 for size in sizes if size is not None]


def _describe(
    sweeps: dict[str, list[tuple[int, float]]],
    waiting: dict[str, dict[str, Any]],
    memory: list[float],
    turns: int,
) -> str:
    """Returns the tables."""
    versions = describe_versions()
    lines = [
        f"Measured on {datetime.date.today().isoformat()}; {processor()}; mma_tf "
        f"{versions['git_revision']}; medians of {turns} turns. LeNet5, batch "
        f"{Point().batch_size} (128 on logical devices), {Point().attack_steps} + 10 "
        f"steps, {Point().precision}, where nothing else is said.",
        "",
        "| | seconds of a step |",
        "|---|---|",
    ]
    for name, found in sweeps.items():
        cells = ", ".join(f"{value:,}: {seconds:.3f}" for value, seconds in found)
        lines.append(f"| `{name}` | {cells} |")
    lines += [
        "",
        "| training | seconds of a step | spent on waiting |",
        "|---|---|---|",
    ]
    for name, answer in waiting.items():
        lines.append(f"| {name} | {answer['seconds']:.3f} | {answer['share']:.2%} |")
    if memory:
        sizes = ", ".join(f"{size:.2f}" for size in memory)
        lines += [
            "",
            f"Resident memory after each epoch of {EPOCHS.num_examples:,} images, GiB: "
            f"{sizes}.",
        ]
    return "\n".join(lines)


def main() -> int:
    """Measures, prints, draws and writes."""
    args = _parse()
    try:
        if args.write_readme is not None:
            check_section(args.write_readme, _MARK)
        sweeps = {}
        for name, points in SWEEPS.items():
            sweeps[name] = _sweep(points, args.turns)
            print(name, sweeps[name], flush=True)
        waiting = {name: _waiting(point) for name, point in PIPELINES.items()}
        memory = _memory(EPOCHS, NUM_EPOCHS)
        text = _describe(sweeps, waiting, memory, args.turns)
        print(text)
        if args.picture is not None:
            args.picture.write_bytes(draw(sweeps, memory))
        if args.write_readme is not None:
            write_section(args.write_readme, text, _MARK)
    except (Mistake, WorkerError) as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, Mistake) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
