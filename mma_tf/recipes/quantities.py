"""Numbers as people write them: 8/255, 0.3, 1e-4."""

from mma_tf.errors import UserError


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


def format_length(value: float) -> str:
    """Returns a short name for a length: 8_255 for 8/255, else its digits."""
    numerator = value * 255
    nearest = round(numerator)
    is_short = f"{value:.4g}" == repr(value).rstrip("0").rstrip(".")
    if not is_short and nearest and abs(numerator - nearest) < 1e-9:
        return f"{nearest}_255"
    return f"{value:.6g}"
