"""One attack of a PyTorch library on the reference network; `attacks.py` calls this.

It runs in an environment with PyTorch and without TensorFlow (README.md), and imports
only the library that it is asked for:

    /tmp/torch_env/bin/python -m benchmarks.peer_attacks --library=torchattacks \
        --attack=square --problem=problem.npz --answer=answer.npz
"""

import argparse
import importlib
import importlib.metadata
import importlib.util
import logging
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import settings
from benchmarks.settings import Run

try:
    import numpy as np
    import torch

    from benchmarks.torch_network import Problem, load_problem
except ModuleNotFoundError as error:
    print(error.name)
    sys.exit(settings.MISSING_PACKAGE)

_NORMS = {"linf": "Linf", "l2": "L2"}
# Images and labels of a batch to the points that were found.
BatchAttack = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def pyautoattack_attack(problem: Problem, run: Run) -> BatchAttack:
    """Returns an attack of AutoAttack's authors, "standard" parameters."""
    from pyautoattack.autoattack import AutoAttack

    everything = AutoAttack(
        problem.network,
        norm=_NORMS[run.norm],
        eps=run.eps,
        seed=run.seed,
        version="standard",
    )
    if run.attack == "autoattack":
        return lambda images, labels: everything.run_standard_evaluation(
            images, labels, batch_size=run.batch_size
        )[0]
    fab = everything.fab
    if run.attack == "fab_t_size":
        return lambda images, labels: _nearest_of_targets(problem, fab, images, labels)
    everything.apgd.loss = "ce"
    fab.targeted = True
    return {
        "apgd_ce": everything.apgd.perturb,
        "apgd_t": everything.apgd_targeted.perturb,
        "fab_t": fab.perturb,
        "square": everything.square.perturb,
    }[run.attack]


@torch.no_grad()
def _nearest_of_targets(
    problem: Problem, fab: Any, images: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    """Returns FAB's nearest errors over all targets; `perturb` stops in the ball."""
    nearest, least = images.clone(), torch.full([len(images)], torch.inf)
    order = {"Linf": torch.inf, "L2": 2}[fab.norm]
    for target_class in range(2, settings.NUM_TARGETS + 2):
        fab.target_class = target_class
        points = fab.attack_single_run(images, labels, is_targeted=True)
        size = torch.linalg.vector_norm((points - images).flatten(1), order, dim=1)
        error = problem.network(points).argmax(1) != labels
        closer = error & (size < least)
        nearest[closer], least[closer] = points[closer], size[closer]
    return nearest


def torchattacks_attack(problem: Problem, run: Run) -> BatchAttack:
    """Returns an attack of torchattacks, AutoAttack's parameters where they differ."""
    import torchattacks

    network = problem.network
    ball = {"norm": _NORMS[run.norm], "eps": run.eps, "seed": run.seed}
    makers = {
        "apgd_ce": lambda: torchattacks.APGD(
            network,
            **ball,
            steps=settings.APGD_STEPS,
            loss="ce",
            rho=settings.APGD_RHO,
        ),
        "apgd_t": lambda: torchattacks.APGDT(
            network, **ball, steps=settings.APGD_STEPS, rho=settings.APGD_RHO
        ),
        "fab_t": lambda: torchattacks.FAB(
            network, **ball, steps=settings.FAB_STEPS, multi_targeted=True
        ),
        "square": lambda: torchattacks.Square(
            network,
            **ball,
            n_queries=settings.SQUARE_QUERIES,
            p_init=settings.SQUARE_FIRST_SHARE,
            loss="margin",
            resc_schedule=False,
        ),
        "spsa": lambda: torchattacks.SPSA(
            network,
            eps=run.eps,
            delta=settings.SPSA_DELTA,
            lr=settings.SPSA_LEARNING_RATE,
            nb_iter=settings.SPSA_STEPS,
            nb_sample=settings.SPSA_PAIRS,
            max_batch_size=settings.SPSA_PAIRS,
        ),
    }
    return makers[run.attack]()


def foolbox_attack(problem: Problem, run: Run) -> BatchAttack:
    """Returns a minimum-norm attack of Foolbox."""
    import foolbox

    model = foolbox.PyTorchModel(problem.network, bounds=(0, 1), device="cpu")
    if run.attack == "ddn":
        attack = foolbox.attacks.DDNAttack(
            init_epsilon=settings.DDN_FIRST_RADIUS,
            steps=settings.DDN_STEPS,
            gamma=settings.DDN_GAMMA,
        )
    else:
        fmn = {
            "linf": foolbox.attacks.LInfFMNAttack,
            "l2": foolbox.attacks.L2FMNAttack,
        }[run.norm]
        attack = fmn(
            steps=settings.FMN_STEPS,
            max_stepsize=settings.FMN_FIRST_STEP_SIZE,
            min_stepsize=settings.FMN_LAST_STEP_SIZE,
            gamma=settings.FMN_FIRST_GAMMA,
        )
    return lambda images, labels: attack.run(model, images, labels)


def adv_lib_attack(problem: Problem, run: Run) -> BatchAttack:
    """Returns FMN of adv-lib."""
    order = {"linf": float("inf"), "l2": 2}[run.norm]
    fmn = _adv_lib_module("fast_minimum_norm").fmn

    # Its arguments have Greek names.
    alpha, gamma = "\N{GREEK SMALL LETTER ALPHA}", "\N{GREEK SMALL LETTER GAMMA}"
    lengths = {
        f"{alpha}_init": settings.FMN_FIRST_STEP_SIZE,
        f"{alpha}_final": settings.FMN_LAST_STEP_SIZE,
        f"{gamma}_init": settings.FMN_FIRST_GAMMA,
        f"{gamma}_final": settings.FMN_LAST_GAMMA,
    }
    return lambda images, labels: fmn(
        problem.network, images, labels, order, steps=settings.FMN_STEPS, **lengths
    )


def _adv_lib_module(name: str) -> types.ModuleType:
    """Loads a file of adv-lib without its package, which imports torchvision."""
    package = importlib.util.find_spec("adv_lib")
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError("No module named 'adv_lib'", name="adv-lib")
    path = Path(package.submodule_search_locations[0]) / "attacks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"adv_lib_{name}", path)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"No module {path}", name="adv-lib")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_LIBRARIES = {
    "adv-lib": adv_lib_attack,
    "pyautoattack": pyautoattack_attack,
    "torchattacks": torchattacks_attack,
    "foolbox": foolbox_attack,
}


def main() -> None:
    """Runs the attack on the images that are right, and writes the answer."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--library", choices=settings.LIBRARIES, required=True)
    parser.add_argument("--check", action="store_true", help="whether it can be loaded")
    parser.add_argument("--attack", choices=settings.ATTACKS)
    parser.add_argument("--problem", type=Path)
    parser.add_argument("--answer", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch_size", type=int, default=250)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    try:
        if args.library == "adv-lib":
            _adv_lib_module("fast_minimum_norm")
        else:
            importlib.import_module(args.library)
    except ModuleNotFoundError as error:
        print(error.name)
        sys.exit(settings.MISSING_PACKAGE)
    library = f"{args.library} {importlib.metadata.version(args.library)}"
    if args.check:
        print(f"{library}, PyTorch {torch.__version__}")
        return

    logging.disable(logging.INFO)
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    problem = load_problem(args.problem)
    run = Run(
        attack=args.attack,
        norm=next(name for name in settings.NORMS if name == problem.arrays["norm"]),
        eps=float(problem.arrays["eps"]),
        seed=args.seed,
        batch_size=args.batch_size,
    )
    with torch.no_grad():
        right = problem.network(problem.images).argmax(1) == problem.labels
    images, labels = problem.images[right], problem.labels[right]
    # AutoAttack makes its batches itself.
    size = len(images) if run.attack == "autoattack" else run.batch_size
    attack = _LIBRARIES[args.library](problem, run)
    started = time.perf_counter()
    found = [
        attack(images[start : start + size], labels[start : start + size])
        for start in range(0, len(images), size)
    ]
    seconds = time.perf_counter() - started
    points = problem.images.clone()
    points[right] = torch.cat(found).detach()
    with torch.no_grad():
        logits = problem.network(points)
    np.savez(
        args.answer,
        points=points.permute(0, 2, 3, 1).numpy(),
        logits=logits.numpy(),
        seconds=np.array(seconds),
        library=np.array(library),
    )


if __name__ == "__main__":
    main()
