"""Whether the arguments of MMA training make sense."""

from mma_tf.attacks.arguments import check_step_size
from mma_tf.norms.registry import get_norm
from mma_tf.types import NormName


def check_mma_arguments(
    *,
    norm: NormName,
    d_max: float,
    min_eps: float,
    attack_steps: int,
    first_attack_steps: int | None,
    ramp_steps: int,
    start_queries: int,
    step_size_factor: float,
    search_steps: int,
    fixed_eps: float | None,
    max_eps_factor: float,
    clean_loss_coeff: float,
    search_share: float,
    direction_memory: bool,
    has_memory: bool,
) -> None:
    """Checks the arguments of `MMAModel`, which tells what they are.

    `has_memory` is whether lengths are kept for the training examples.

    Raises:
        ValueError: For the first that is out of its range, by its name.
    """
    get_norm(norm)
    _check_range("d_max", d_max, d_max > 0, "a length > 0")
    if norm == "linf" and d_max > 1:
        raise ValueError(
            "Invalid `d_max`: expected a length in (0, 1] for linf, images being "
            f"in [0, 1]. Received: d_max={d_max} (did you mean {d_max:g}/255?)"
        )
    _check_range(
        "min_eps", min_eps, 0 < min_eps <= d_max, f"a length in (0, d_max={d_max}]"
    )
    _check_range(
        "clean_loss_coeff", clean_loss_coeff, 0 <= clean_loss_coeff <= 1, "[0, 1]"
    )
    _check_range("attack_steps", attack_steps, attack_steps >= 1, "at least 1")
    if first_attack_steps is not None:
        _check_range(
            "first_attack_steps",
            first_attack_steps,
            1 <= first_attack_steps <= attack_steps,
            f"1 to attack_steps={attack_steps}",
        )
        _check_range("ramp_steps", ramp_steps, ramp_steps >= 1, "at least 1")
    _check_range("start_queries", start_queries, start_queries >= 0, "at least 0")
    check_step_size("step_size_factor", step_size_factor)
    _check_range("search_steps", search_steps, search_steps >= 0, "at least 0")
    if search_steps == 0:
        length, longest = fixed_eps or 0.0, max_eps_factor * d_max
        _check_range(
            "fixed_eps",
            length,
            0 < length <= longest,
            f"a length in (0, max_eps_factor * d_max={longest:g}]",
        )
    _check_range("search_share", search_share, 0 < search_share <= 1, "(0, 1]")
    if search_share < 1 and not has_memory:
        raise ValueError(
            "Invalid `search_share`: expected 1 without a memory of margins, which "
            "tells whose to search (num_examples, margin_memory). Received: "
            f"search_share={search_share}"
        )
    if direction_memory and not has_memory:
        raise ValueError(
            "Invalid `direction_memory`: expected False without a memory of margins "
            "(num_examples, margin_memory). Received: direction_memory=True"
        )
    _check_range("max_eps_factor", max_eps_factor, max_eps_factor > 1, "a factor > 1")


def _check_range(name: str, value: float, is_valid: bool, expected: str) -> None:
    if not is_valid:
        raise ValueError(
            f"Invalid `{name}`: expected {expected}. Received: {name}={value}"
        )
