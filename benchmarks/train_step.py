"""One MMA training step beside PyTorch's: how fast, and how much of the machine.

Both sides train the same network with the same weights on the same images by the same
recipe, ours as `bin/train` does, the other by a PyTorch step that is written for this
purpose (torch_train_step_mma.py):

    .venv/bin/python -m benchmarks.train_step --peer_python=/tmp/torch_env/bin/python

Each case has a process for either side (README.md says how to make the environment of
the other one). They run in turns, never at the same time; building, tracing and the
first step are timed apart from the steps. With `--check`, nothing is timed: one step of
each float32 case, without random starts, and whether both sides compute the same.
Exit code 2: a mistake in the command, or the interpreter lacks a package.
"""

import argparse
import dataclasses
import json
import os
import sys
import tempfile
from pathlib import Path

from benchmarks import train_step_check
from benchmarks.arguments import names, positive
from benchmarks.train_step_cases import CASES
from benchmarks.train_step_measure import Machine, Timing, measure, problem_of
from benchmarks.train_step_table import (
    HEADER,
    Row,
    check_section,
    heading,
    write_section,
)
from benchmarks.train_step_worker import Mistake, WorkerError
from mma_tf.versions import describe_versions

_ATTACK_REPEATS = 5


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer_python", required=True, help="interpreter with PyTorch")
    parser.add_argument(
        "--cases",
        type=names(tuple(CASES)),
        default=list(CASES),
        help=f"some of {','.join(CASES)} (default: all)",
    )
    parser.add_argument("--pairs", type=positive, default=7)
    parser.add_argument(
        "--steps", type=positive, help="steps in a turn (default: by the case)"
    )
    parser.add_argument(
        "--threads", type=positive, help="cores for either side (default: all)"
    )
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path(tempfile.gettempdir()) / "mma_tf_train_step",
        help="folder for the trained networks (default: %(default)s)",
    )
    parser.add_argument(
        "--check", action="store_true", help="whether both sides compute the same"
    )
    parser.add_argument(
        "--quick", action="store_true", help="a pair of few attack steps: does it run?"
    )
    parser.add_argument("--out", type=Path, help="JSON with all that was measured")
    parser.add_argument(
        "--write_readme",
        type=Path,
        metavar="PATH",
        help="file to write the table into, between its two marks",
    )
    args = parser.parse_args()
    if args.write_readme is not None and (args.quick or args.check):
        parser.error("--write_readme: --quick and --check measure nothing to write")
    return args


def _use_threads(threads: int | None) -> int:
    """Returns how many cores this process and its children have, at most `threads`."""
    if not hasattr(os, "sched_setaffinity"):
        if threads is not None:
            raise Mistake("--threads needs Linux: leave it out.")
        return os.cpu_count() or 1
    cores = sorted(os.sched_getaffinity(0))
    if threads is None:
        return len(cores)
    if threads > len(cores):
        raise Mistake(f"--threads={threads}: there are only {len(cores)} cores here.")
    # Libraries find so many cores, and choose their own settings as on such a machine.
    os.sched_setaffinity(0, cores[:threads])
    return threads


def _compare(args: argparse.Namespace, machine: Machine) -> None:
    pairs = 1 if args.quick else args.pairs
    timing = Timing(pairs, args.steps, 1 if args.quick else _ATTACK_REPEATS)
    with machine.theirs() as (_, about):
        versions = [about["versions"]]
    with machine.ours() as (worker, about):
        versions.insert(0, about["versions"])
        peaks = worker.ask("peaks", seconds=0.3 if args.quick else 2.0)
    revision = describe_versions()["git_revision"]
    versions.insert(0, f"mma_tf {revision}")
    top = heading(versions, about["device"], machine.threads, peaks, pairs)
    if args.quick:
        top = f"QUICK: shows that it runs, and nothing else. {top}"
    lines = [f"{top}\n", HEADER]
    print("\n".join(lines), flush=True)
    rows: list[Row] = []
    for name in args.cases:
        case = CASES[name].quick() if args.quick else CASES[name]
        row = measure(case, machine, problem_of(case, machine, args.cache), timing)
        rows.append(row)
        lines.append(row.markdown())
        print(lines[-1], flush=True)
        if args.out is not None:
            measured = {
                "heading": top,
                "versions": versions,
                "threads": machine.threads,
                "device": args.device,
                "quick": args.quick,
                "peaks": peaks,
                "rows": [
                    {
                        **dataclasses.asdict(row),
                        "ratios": row.ratios,
                        "plain_ratios": row.plain_ratios,
                        "share_of_peak": row.share_of_peak,
                    }
                    for row in rows
                ],
            }
            args.out.write_text(json.dumps(measured, indent=1) + "\n")
    if args.write_readme is not None:
        write_section(args.write_readme, "\n".join(lines))


def main() -> int:
    """Runs the comparison and prints the table as it grows."""
    args = _parse()
    try:
        machine = Machine(args.peer_python, args.device, _use_threads(args.threads))
        if args.write_readme is not None:
            check_section(args.write_readme)
        args.cache.mkdir(parents=True, exist_ok=True)
        if args.check:
            cases = [CASES[name] for name in args.cases]
            same = [
                train_step_check.check(
                    case.quick() if args.quick else case,
                    machine,
                    problem_of(case, machine, args.cache),
                    dtype,
                )
                for case in cases
                if case.precision == "float32"
                for dtype in train_step_check.DTYPES
            ]
            return 0 if all(same) else 1
        _compare(args, machine)
    except Mistake as mistake:
        print(mistake, file=sys.stderr)
        return 2
    except WorkerError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
