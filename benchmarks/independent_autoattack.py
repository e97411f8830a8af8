"""Finds what an independent AutoAttack makes of the reference network.

It runs in an environment with PyTorch and without TensorFlow:

    python3 -m venv /tmp/torch_env
    /tmp/torch_env/bin/pip install torch==2.13.0 numpy==2.4.6
    /tmp/torch_env/bin/pip install --no-deps pyautoattack==0.2.0
    /tmp/torch_env/bin/python -m benchmarks.independent_autoattack \
        --network=/tmp/reference_network.npz --norm=linf --eps=0.23 \
        --out=tests/testdata/autoattack_mnist_linf.npz  # l2: --eps=2

`--network` is what `benchmarks/train_reference_network.py` wrote. pyautoattack is the
code of AutoAttack's authors (github.com/fra31/auto-attack) in a wheel. Each attack of
its "standard" version is run on all images, and then the four of them in a row, each on
those images that are still classified right, as AutoAttack does.
"""

import argparse
import importlib.metadata
import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pyautoattack.autoattack import AutoAttack

from benchmarks.torch_network import Problem, load_problem

ATTACKS = {
    "apgd_ce": "apgd-ce",
    "apgd_t": "apgd-t",
    "fab_t": "fab-t",
    "square": "square",
}
NORMS = {"linf": "Linf", "l2": "L2"}
# Room for rounding when lengths are checked.
_SLACK = 1e-5


def run(
    problem: Problem,
    attacks: list[str],
    *,
    norm: str,
    eps: float,
    seed: int,
    batch_size: int,
) -> np.ndarray:
    """Returns which images stay right under the attacks, one after the other.

    Args:
        problem: Network and images.
        attacks: Values of `ATTACKS`.
        norm: "linf" or "l2".
        eps: Radius, in units of pixels in [0, 1].
        seed: Of each attack and batch.
        batch_size: Images at once.

    Raises:
        RuntimeError: If what came back leaves the ball or the box.
    """
    autoattack = AutoAttack(
        problem.network, norm=NORMS[norm], eps=eps, seed=seed, version="standard"
    )
    autoattack.attacks_to_run = attacks
    images, labels = problem.images, problem.labels
    found, _ = autoattack.run_standard_evaluation(images, labels, batch_size=batch_size)
    changes = (found - images).flatten(1)
    order = float("inf") if norm == "linf" else 2
    longest = torch.linalg.vector_norm(changes, order, dim=1).max().item()
    if longest > eps + _SLACK or found.min() < 0 or found.max() > 1:
        raise RuntimeError(f"{attacks} left the ball or the box: {longest} of {eps}")
    with torch.no_grad():
        return (problem.network(found).argmax(1) == labels).numpy()


def main() -> None:
    """Runs the attacks, prints a line for each and writes the npz."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network", type=Path, required=True)
    parser.add_argument("--norm", choices=sorted(NORMS), required=True)
    parser.add_argument("--eps", type=float, required=True)
    parser.add_argument("--attacks", default=",".join(ATTACKS), help="to look first")
    parser.add_argument("--num_examples", type=int, default=1000)
    parser.add_argument("--batch_size", type=int, default=250)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="npz to write; needs all attacks")
    args = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    torch.set_num_threads(args.threads)
    attacks = args.attacks.split(",")
    if args.out is not None and attacks != list(ATTACKS):
        parser.error("--out takes the figures of all attacks")

    problem = load_problem(args.network, args.num_examples)
    settings = {
        "norm": args.norm,
        "eps": args.eps,
        "seed": args.seed,
        "batch_size": args.batch_size,
    }
    robust: dict[str, np.ndarray] = {}
    with torch.no_grad():
        logits = problem.network(problem.images)
    robust["clean"] = (logits.argmax(1) == problem.labels).numpy()
    runs = {name: [ATTACKS[name]] for name in attacks}
    if attacks == list(ATTACKS):
        runs["autoattack"] = list(ATTACKS.values())
    print(f"{args.norm}, eps {args.eps}, {len(problem.images)} images", flush=True)
    print(f"  clean       {robust['clean'].mean():7.2%}")
    for name, in_a_row in runs.items():
        started = time.perf_counter()
        robust[name] = run(problem, in_a_row, **settings)
        seconds = time.perf_counter() - started
        print(
            f"  {name:11} {robust[name].mean():7.2%}  {seconds:7.1f} s",
            flush=True,
        )
    robust["worst_case"] = np.logical_and.reduce([robust[name] for name in attacks])
    print(f"  worst_case  {robust['worst_case'].mean():7.2%}")
    if args.out is None:
        return
    arrays: dict[str, Any] = {
        name: values
        for name, values in problem.arrays.items()
        if name.startswith("weight_")
    }
    arrays |= {f"robust_{name}": values for name, values in robust.items()}
    arrays |= {f"accuracy_{name}": values.mean() for name, values in robust.items()}
    np.savez_compressed(
        args.out,
        images=problem.arrays["images"][: args.num_examples],
        labels=problem.arrays["labels"][: args.num_examples].astype(np.int32),
        logits=logits.numpy(),
        norm=np.array(args.norm),
        eps=np.array(args.eps),
        seed=np.array(args.seed),
        batch_size=np.array(args.batch_size),
        torch_version=np.array(torch.__version__),
        pyautoattack_version=np.array(importlib.metadata.version("pyautoattack")),
        **arrays,
    )


if __name__ == "__main__":
    main()
