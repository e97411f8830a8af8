"""How far a share that was counted on a sample can be trusted."""

import math
from typing import NamedTuple

# Of the standard normal distribution, for 95 %.
_QUANTILE = 1.959963984540054


class Interval(NamedTuple):
    """An interval of shares, each in [0, 1]."""

    low: float
    high: float


def wilson_interval(count: int, total: int) -> Interval:
    """Returns the 95 % Wilson score interval of the share `count / total`.

    Args:
        count: From 0 to `total`.
        total: >= 1.

    Raises:
        ValueError: If there is no such share.

    Reference: Wilson, Journal of the American Statistical Association 22, 1927.
    """
    if total < 1 or not 0 <= count <= total:
        raise ValueError(
            "Invalid `count`: expected 0 to `total`, which is >= 1. Received: "
            f"count={count}, total={total}"
        )
    share, square = count / total, _QUANTILE**2
    centre = (share + square / (2 * total)) / (1 + square / total)
    spread = math.sqrt(share * (1 - share) / total + square / (4 * total**2))
    reach = _QUANTILE * spread / (1 + square / total)
    return Interval(max(centre - reach, 0.0), min(centre + reach, 1.0))
