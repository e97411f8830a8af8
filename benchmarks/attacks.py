"""Our attacks beside those of PyTorch libraries: what they find, and how fast.

Both sides attack the same network (weights of tests/testdata/autoattack_mnist_*.npz, or
of --network_file) on the same MNIST images, those that it classifies right, with the
same radii, parameters and number of threads:

    .venv/bin/python -m benchmarks.attacks --peer_python=/tmp/torch_env/bin/python

Theirs run in another process with an interpreter of their own (README.md says how to
make it), ours in this one; never at the same time, and in turns if `--repeats` is more
than 1. Starting Python is not timed; tracing our graphs is, at every repeat.
Exit code 2: a mistake in the command, or the interpreter lacks a package.
"""

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import settings
from benchmarks.arguments import names, positive
from benchmarks.settings import NormName, Run

_TESTDATA = Path(__file__).resolve().parent.parent / "tests" / "testdata"
# Room for rounding when lengths are checked, float32 at sizes of about 1.
_SLACK = 1e-5


@dataclasses.dataclass(frozen=True)
class Problem:
    """A network and the images to attack it on, all of them classified right.

    Attributes:
        logits_fn: Images to logits, in inference mode.
        images: `[num_images, height, width, channels]` float32 in [0, 1].
        labels: `[num_images]`.
        logits: `[num_images, classes]` of the images.
        eps: Radius, in pixel units.
        arrays: What `benchmarks.torch_network.load_problem` reads.
    """

    logits_fn: Callable[[Any], Any]
    images: np.ndarray
    labels: np.ndarray
    logits: np.ndarray
    eps: float
    arrays: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Answer:
    """What one side found in one run.

    Attributes:
        library: Name and version.
        seconds: Wall time of the attack.
        errors: `[num_images]` where an error was found (of the attacks in a ball: in
            it), among the images that were right.
        sizes: `[num_images]` its distance from the image.
    """

    library: str
    seconds: float
    errors: np.ndarray
    sizes: np.ndarray


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        attack: A name of `settings.ATTACKS`.
        norm: "linf" or "l2".
        eps: Radius, in pixel units; None for attacks for sizes.
        num_images: How many were attacked; those that were wrong before are left out.
        their_library: Name and version.
        their_seconds: Wall time of each repeat.
        their_found: Images for which an error was found, in the last repeat.
        their_median: Median size of the nearest errors, for attacks for sizes.
        our_seconds: As theirs.
        our_found: As theirs.
        our_median: As theirs.
        only_theirs: Images for which they alone found an error.
        only_ours: Images for which we alone did.
    """

    attack: str
    norm: str
    eps: float | None
    num_images: int
    their_library: str
    their_seconds: list[float]
    their_found: int
    their_median: float | None
    our_seconds: list[float]
    our_found: int
    our_median: float | None
    only_theirs: int
    only_ours: int

    @property
    def ratio(self) -> float:
        """Their median time over ours: more than 1 where we are faster."""
        return statistics.median(self.their_seconds) / statistics.median(
            self.our_seconds
        )


def load_problem(
    testdata: Path,
    norm: str,
    num_examples: int,
    *,
    network_file: Path | None = None,
    eps: float | None = None,
) -> Problem:
    """Returns network, first images and radius of the test data for a norm.

    Args:
        testdata: Folder with `autoattack_mnist_<norm>.npz`.
        norm: "linf" or "l2".
        num_examples: How many of the first images.
        network_file: Another network, an npz of `train_reference_network.py`.
        eps: Another radius, in pixel units.
    """
    from benchmarks.train_reference_network import NETWORKS
    from mma_tf.models.inference import inference_logits_fn

    with np.load(testdata / f"autoattack_mnist_{norm}.npz") as file:
        arrays = dict(file)
    if network_file is not None:
        with np.load(network_file) as file:
            arrays = {"norm": arrays["norm"], "eps": arrays["eps"], **file}
    if eps is not None:
        arrays["eps"] = np.array(eps)
    name = str(arrays.get("network", "reference_network"))
    count = sum(name.startswith("weight_") for name in arrays)
    weights = {f"weight_{i}": arrays[f"weight_{i}"] for i in range(count)}
    classifier = NETWORKS[name]()
    classifier.set_weights(list(weights.values()))
    logits_fn = inference_logits_fn(classifier)
    images, labels = arrays["images"][:num_examples], arrays["labels"][:num_examples]
    pixels = images.astype(np.float32) / np.float32(255)
    logits = np.asarray(logits_fn(pixels))
    right = np.argmax(logits, axis=1) == labels
    exchanged = {
        "images": images[right],
        "labels": labels[right],
        "logits": logits[right],
        "norm": arrays["norm"],
        "eps": arrays["eps"],
        "network": name,
        **weights,
    }
    return Problem(
        logits_fn=logits_fn,
        images=pixels[right],
        labels=labels[right],
        logits=logits[right],
        eps=float(arrays["eps"]),
        arrays=exchanged,
    )


def run_theirs(
    run: Run, problem_file: Path, problem: Problem, library: str, peer: "Peer"
) -> Answer:
    """Returns what a library finds, in a process of its own."""
    answer_file = problem_file.with_name("answer.npz")
    answer_file.unlink(missing_ok=True)
    peer.call(
        f"--library={library}",
        f"--attack={run.attack}",
        f"--problem={problem_file}",
        f"--answer={answer_file}",
        f"--seed={run.seed}",
        f"--batch_size={run.batch_size}",
    )
    with np.load(answer_file) as file:
        errors, sizes = measure(run, problem, file["points"], file["logits"])
        return Answer(str(file["library"]), float(file["seconds"]), errors, sizes)


def run_ours(run: Run, problem: Problem) -> Answer:
    """Returns what our attack finds."""
    library = "mma_tf"
    if run.attack == "autoattack":
        return Answer(library, *_our_suite(run, problem))
    started = time.perf_counter()
    points = _our_attack(run, problem)
    seconds = time.perf_counter() - started
    logits = np.asarray(problem.logits_fn(points))
    return Answer(library, seconds, *measure(run, problem, points, logits))


def measure(
    run: Run, problem: Problem, points: np.ndarray, logits: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns which points are errors that count, and the distances of all.

    Args:
        run: The attack that found them.
        problem: What was attacked.
        points: `[num_images, height, width, channels]`.
        logits: `[num_images, classes]` of `points`, by the network of the side that
            found them: on the boundary the two may round differently.

    Raises:
        RuntimeError: If a point leaves the box.
    """
    if not (points.min() >= 0 and points.max() <= 1):
        raise RuntimeError(f"{run.attack}: points outside of [0, 1]")
    order = {"linf": np.inf, "l2": 2}[run.norm]
    changes = points.astype(np.float64) - problem.images
    sizes = np.linalg.norm(changes.reshape(len(points), -1), order, axis=1)
    errors = np.argmax(logits, axis=1) != problem.labels
    if run.attack in settings.BALL_ATTACKS:
        errors &= sizes <= run.eps + _SLACK
    return errors, sizes


def _our_suite(run: Run, problem: Problem) -> tuple[float, np.ndarray, np.ndarray]:
    """Runs the whole of AutoAttack as a user does; without its sanity checks' time."""
    from mma_tf.evaluation.judging import evaluate

    result = evaluate(
        problem.logits_fn,
        problem.images,
        problem.labels,
        norm=run.norm,
        eps=run.eps,
        suite="autoattack",
        seed=run.seed,
        batch_size=run.batch_size,
    )
    return result.seconds, ~result.robust[0], result.sizes


def _our_attack(run: Run, problem: Problem) -> np.ndarray:
    """Returns the nearest errors that one of our attacks finds on all images.

    In batches that are kept full, as evaluations run it.
    """
    import tensorflow as tf

    from mma_tf.evaluation.slots import Work
    from mma_tf.evaluation.stream import Stream
    from mma_tf.evaluation.targets import ranked_targets

    in_ball = run.attack in settings.BALL_ATTACKS
    attack, num_passes = _OURS[run.attack](run.norm)
    targets = ranked_targets(problem.labels, problem.logits, settings.NUM_TARGETS)
    points = problem.images.copy()
    least = np.full(len(points), np.inf)

    def is_solved(examples: np.ndarray) -> np.ndarray:
        return in_ball & (least[examples] <= run.eps)

    def report(examples: np.ndarray, found: np.ndarray, sizes: np.ndarray) -> None:
        # One by one: a batch may hold several targets of an example.
        for at, example in enumerate(examples):
            if sizes[at] < least[example]:
                points[example], least[example] = found[at], sizes[at]

    work = Work(
        fetch=lambda examples: problem.images[examples],
        labels=problem.labels,
        todo=np.arange(len(points)),
        eps=np.full(len(points), run.eps),
        targets=targets[:, :num_passes],
        seed=tf.constant([0, run.seed], tf.int64),
    )
    stream = Stream(
        attack, problem.logits_fn, batch_size=run.batch_size, stop_in_ball=in_ball
    )
    stream.run(work, is_solved=is_solved, report=report, on_round=lambda progress: None)
    return points


# Each gives the attack, and the number of passes (targets) for each image.
def _our_apgd_ce(norm: NormName) -> tuple[Any, int]:
    from mma_tf.attacks import APGD

    loss = "cross_entropy"
    return APGD(norm, settings.APGD_STEPS, loss, settings.APGD_RHO), 1


def _our_apgd_t(norm: NormName) -> tuple[Any, int]:
    from mma_tf.attacks import APGD

    attack = APGD(norm, settings.APGD_STEPS, "targeted_dlr", settings.APGD_RHO)
    return attack, settings.NUM_TARGETS


def _our_fab_t(norm: NormName) -> tuple[Any, int]:
    from mma_tf.attacks import FAB

    return FAB(norm, settings.FAB_STEPS), settings.NUM_TARGETS


def _our_square(norm: NormName) -> tuple[Any, int]:
    from mma_tf.attacks import Square

    return Square(norm, settings.SQUARE_QUERIES, settings.SQUARE_FIRST_SHARE), 1


def _our_spsa(norm: NormName) -> tuple[Any, int]:
    from mma_tf.attacks import SPSA

    attack = SPSA(
        norm,
        num_steps=settings.SPSA_STEPS,
        num_samples=settings.SPSA_PAIRS,
        delta=settings.SPSA_DELTA,
        learning_rate=settings.SPSA_LEARNING_RATE,
    )
    return attack, 1


def _our_ddn(norm: NormName) -> tuple[Any, int]:
    from mma_tf.attacks import DDN

    del norm  # DDN is for l2 alone.
    attack = DDN(
        num_steps=settings.DDN_STEPS,
        first_radius=settings.DDN_FIRST_RADIUS,
        gamma=settings.DDN_GAMMA,
    )
    return attack, 1


def _our_fmn(norm: NormName) -> tuple[Any, int]:
    from mma_tf.attacks import FMN

    # Ours counts steps in units of the box's diagonal.
    diagonal = 28.0
    attack = FMN(
        norm,
        num_steps=settings.FMN_STEPS,
        first_step_size=settings.FMN_FIRST_STEP_SIZE / diagonal,
        last_step_size=settings.FMN_LAST_STEP_SIZE / diagonal,
        first_gamma=settings.FMN_FIRST_GAMMA,
        last_gamma=settings.FMN_LAST_GAMMA,
    )
    return attack, 1


_OURS: dict[str, Callable[[NormName], tuple[Any, int]]] = {
    "apgd_ce": _our_apgd_ce,
    "apgd_t": _our_apgd_t,
    "fab_t": _our_fab_t,
    "square": _our_square,
    "spsa": _our_spsa,
    "fab_t_size": _our_fab_t,
    "ddn": _our_ddn,
    "fmn": _our_fmn,
}


class PeerError(Exception):
    """The other side cannot be run; the message says why, in one sentence."""


@dataclasses.dataclass(frozen=True)
class Peer:
    """The interpreter that has the PyTorch libraries."""

    python: str
    threads: int

    def call(self, *arguments: str) -> str:
        """Runs `peer_attacks.py` and returns the last line that it printed.

        Raises:
            PeerError: If the interpreter or a package is missing, or the attack fails.
        """
        command = [self.python, "-m", "benchmarks.peer_attacks", *arguments]
        command.append(f"--threads={self.threads}")
        try:
            done = subprocess.run(
                command,
                cwd=Path(__file__).resolve().parent.parent,
                env=os.environ | {"OMP_NUM_THREADS": str(self.threads)},
                capture_output=True,
                text=True,
                check=False,
            )
        except OSError as error:
            raise PeerError(
                f"--peer_python={self.python} cannot be run: {error.strerror}."
            ) from error
        printed = done.stdout.strip().rpartition("\n")[2]
        if done.returncode == settings.MISSING_PACKAGE:
            raise PeerError(
                f"--peer_python={self.python} lacks the package {printed}; "
                "benchmarks/README.md says how to make an environment that has it."
            )
        if done.returncode:
            raise PeerError(f"{' '.join(command)} failed:\n{done.stderr.strip()}")
        return printed


def compare(
    run: Run, problem: Problem, libraries: list[str], peer: Peer, repeats: int
) -> list[Row]:
    """Returns a row for each of `libraries`; ours runs once a repeat."""
    theirs: dict[str, list[Answer]] = {library: [] for library in libraries}
    ours: list[Answer] = []
    with tempfile.TemporaryDirectory() as folder:
        problem_file = Path(folder) / "problem.npz"
        np.savez(problem_file, **problem.arrays)
        for _ in range(repeats):
            for library in libraries:
                answer = run_theirs(run, problem_file, problem, library, peer)
                theirs[library].append(answer)
            ours.append(run_ours(run, problem))
    return [_row(run, problem, answers, ours) for answers in theirs.values()]


def libraries_for(attack: str, norm: str, wanted: list[str]) -> list[str]:
    """Returns those of the libraries that have the attack in the norm."""
    norms_of = settings.PEERS[attack]
    return [name for name in wanted if norm in norms_of.get(name, ())]


def _row(run: Run, problem: Problem, theirs: list[Answer], ours: list[Answer]) -> Row:
    in_ball = run.attack in settings.BALL_ATTACKS
    last, our_last = theirs[-1], ours[-1]

    def median(answer: Answer) -> float:
        return float(np.median(np.where(answer.errors, answer.sizes, np.inf)))

    return Row(
        attack=run.attack,
        norm=run.norm,
        eps=run.eps if in_ball else None,
        num_images=len(problem.images),
        their_library=last.library,
        their_seconds=[answer.seconds for answer in theirs],
        their_found=int(last.errors.sum()),
        their_median=None if in_ball else median(last),
        our_seconds=[answer.seconds for answer in ours],
        our_found=int(our_last.errors.sum()),
        our_median=None if in_ball else median(our_last),
        only_theirs=int((last.errors & ~our_last.errors).sum()),
        only_ours=int((our_last.errors & ~last.errors).sum()),
    )


_HEADER = (
    "| attack | norm | eps | images | library | theirs, s | ours, s | theirs / ours "
    "| theirs found | ours found | theirs only | ours only |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|---|"
)


def markdown(row: Row) -> str:
    """Returns a line of the table."""

    def found(number: int, size: float | None) -> str:
        return f"{number}" if size is None else f"{number}, median {size:.4f}"

    cells = [
        row.attack,
        row.norm,
        "" if row.eps is None else f"{row.eps:g}",
        f"{row.num_images}",
        row.their_library,
        f"{statistics.median(row.their_seconds):.1f}",
        f"{statistics.median(row.our_seconds):.1f}",
        f"{row.ratio:.2f}",
        found(row.their_found, row.their_median),
        found(row.our_found, row.our_median),
        f"{row.only_theirs}",
        f"{row.only_ours}",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> int:
    """Runs the comparisons and prints the table as it grows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer_python", required=True, help="interpreter with PyTorch")
    parser.add_argument(
        "--attacks", type=names(settings.ATTACKS), default=list(settings.ATTACKS)
    )
    parser.add_argument(
        "--norms", type=names(settings.NORMS), default=list(settings.NORMS)
    )
    parser.add_argument(
        "--libraries",
        type=names(settings.LIBRARIES),
        default=list(settings.LIBRARIES),
    )
    parser.add_argument("--num_examples", type=positive, default=1000)
    parser.add_argument("--repeats", type=positive, default=1)
    parser.add_argument("--batch_size", type=positive, default=250)
    parser.add_argument("--threads", type=positive, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--testdata",
        type=Path,
        default=_TESTDATA,
        help="folder with autoattack_mnist_<norm>.npz: network, images and radius",
    )
    parser.add_argument(
        "--network_file",
        type=Path,
        help="npz of train_reference_network.py, to attack that network instead",
    )
    parser.add_argument("--eps_linf", type=float, help="another radius for linf")
    parser.add_argument("--eps_l2", type=float, help="another radius for l2")
    parser.add_argument("--out", type=Path, help="JSON with all that was measured")
    args = parser.parse_args()

    peer = Peer(args.peer_python, args.threads)
    tasks = [
        (attack, norm, libraries_for(attack, norm, args.libraries))
        for norm in args.norms
        for attack in args.attacks
    ]
    needed = {library for _, _, libraries in tasks for library in libraries}
    if not needed:
        parser.error("none of --libraries has any of --attacks in any of --norms")
    try:
        versions = [
            peer.call(f"--library={name}", "--check") for name in sorted(needed)
        ]
    except PeerError as error:
        print(error, file=sys.stderr)
        return 2

    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(args.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.random.set_seed(args.seed)
    versions.append(f"mma_tf, TensorFlow {tf.__version__}")
    print(f"{'; '.join(sorted(versions))}; {args.threads} threads\n\n{_HEADER}")
    rows: list[Row] = []
    problems = {
        norm: load_problem(
            args.testdata,
            norm,
            args.num_examples,
            network_file=args.network_file,
            eps={"linf": args.eps_linf, "l2": args.eps_l2}[norm],
        )
        for norm in args.norms
    }
    for attack, norm, libraries in tasks:
        if not libraries:
            continue
        problem = problems[norm]
        run = Run(attack, norm, problem.eps, args.seed, args.batch_size)
        try:
            new = compare(run, problem, libraries, peer, args.repeats)
        except PeerError as error:
            print(error, file=sys.stderr)
            return 1
        for row in new:
            print(markdown(row), flush=True)
        rows += new
        if args.out is not None:
            measured = {
                "versions": sorted(versions),
                "threads": args.threads,
                "batch_size": args.batch_size,
                "rows": [dataclasses.asdict(row) for row in rows],
            }
            args.out.write_text(json.dumps(measured, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
