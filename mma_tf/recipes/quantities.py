"""Numbers as people write them: 8/255, 0.3, 1e-4."""

import math
from typing import Any

from mma_tf.errors import UserError

# Of the fractions that people write: levels of a pixel, and a third.
_LEVELS = 255
_DENOMINATORS = (3, _LEVELS)


def parse_number(text: str) -> float:
    """Returns the number that `text` says, a fraction being divided out.

    Raises:
        UserError: If it is neither a finite number nor a fraction of two.
    """
    numerator, slash, denominator = text.partition("/")
    try:
        value = float(numerator) / float(denominator) if slash else float(text)
    except (ValueError, ZeroDivisionError):
        value = float("nan")
    if not abs(value) < float("inf"):
        raise UserError(
            f"expected a number or a fraction such as 8/255. Received: {text!r}"
        )
    return value


def parse_whole_number(text: str) -> int:
    """Returns the whole number that `text` says; 1e5 is one.

    Raises:
        UserError: If it is no whole number.
    """
    try:
        # Not by way of a float, which would round the digits of a long one.
        return int(text)
    except ValueError:
        pass
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not value.is_integer():
        raise UserError(f"expected a whole number. Received: {text!r}")
    return int(value)


def format_number(value: float) -> str:
    """Returns a number as a person would write it: 8/255, 1/3 or 0.3.

    Six digits of it where it is none of these: for reading, not for files.
    """
    for denominator in _DENOMINATORS:
        numerator = _numerator(value, denominator)
        if numerator:
            return f"{numerator}/{denominator}"
    return f"{value:.6g}"


def format_value(value: Any) -> str:
    """Returns the value of a flag as a person would write it; "" for no numbers."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(map(format_value, value))
    return format_number(value) if isinstance(value, float) else str(value)


def format_length(value: float) -> str:
    """Returns a length for the name of a folder: 8_255 for 8/255, else its digits."""
    numerator = _numerator(value, _LEVELS)
    return f"{numerator}_{_LEVELS}" if numerator else f"{value:.6g}"


def _numerator(value: float, denominator: int) -> int:
    """Returns n where n / denominator says `value` better than its digits, else 0."""
    has_few_digits = float(f"{value:.6g}") == value or value.is_integer()
    if has_few_digits or not math.isfinite(value):
        return 0
    nearest = round(value * denominator)
    return nearest if abs(value * denominator - nearest) < 1e-9 else 0
