"""Whether both sides of `train_step.py` compute the same; imports no framework."""

import dataclasses
import statistics
from pathlib import Path

from benchmarks.train_step_cases import Case, parameters_of
from benchmarks.train_step_measure import Machine

DTYPES = ("float64", "float32")

# Of losses, and of margins in pixel units.
_TOLERANCE = 1e-4
# Of the loss after the update, relative: Adam's epsilon stands in another place of its
# formula in Keras than in PyTorch, which tells where gradients are as small as it.
_AFTER_TOLERANCE = 1e-2


def check(case: Case, machine: Machine, problem: Path, dtype: str) -> bool:
    """Makes a step on both sides without random starts, and prints how they differ.

    The memory of margins, weights and images are the same; moving averages stand still,
    since PyTorch's have another variance. In float64 each margin and the loss have to
    agree. In float32 half of the margins: steps by the sign of a gradient make much of
    its last bit.

    Args:
        case: Whole training steps, or an attack (its losses take the margins' place).
        machine: Gives the workers, never two at a time.
        problem: The npz of `make_problem`.
        dtype: A name of `DTYPES`.

    Returns:
        Whether they agree.
    """
    with machine.ours() as (ours, _):
        built = ours.ask(
            "prepare",
            case=dataclasses.asdict(case),
            path=str(problem),
            num_steps=1,
            check_in=dtype,
        )
        our = ours.ask("check")
    with machine.theirs() as (theirs, _):
        theirs.ask(
            "prepare",
            parameters=parameters_of(case, timed=False),
            path=str(problem),
            is_training=case.is_training,
            order=built["order"],
            check_in=dtype,
        )
        their = theirs.ask("check")
    pairs = zip(our["values"], their["values"], strict=True)
    differences = [abs(first - second) for first, second in pairs]
    near = sum(difference <= _TOLERANCE for difference in differences)
    loss = abs(our["loss"] - their["loss"])
    agrees = near == len(differences) and loss <= _TOLERANCE
    if dtype == "float32":
        agrees = statistics.median(differences) <= _TOLERANCE
    what = "margins" if case.is_training else "losses of points"
    text = (
        f"{case.name}, {dtype}: {near} of {len(differences)} {what} agree to "
        f"{_TOLERANCE:g} (average {statistics.fmean(our['values']):.4g}, they differ "
        f"by {max(differences):.1e} at most); loss {our['loss']:.6f} and "
        f"{their['loss']:.6f}, {loss:.1e} apart"
    )
    if case.is_training:
        after = abs(our["after"] - their["after"]) / their["after"]
        agrees = agrees and after <= _AFTER_TOLERANCE
        text += (
            f"; clean loss after the update {our['after']:.6f} and "
            f"{their['after']:.6f}, {after:.1e} of it apart"
        )
    print(f"{text}: {'the same' if agrees else 'DIFFERENT'}.", flush=True)
    return agrees
