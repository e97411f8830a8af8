"""What the benchmarks' flags may be; imports no framework."""

import argparse
from collections.abc import Callable, Sequence


def names(allowed: Sequence[str]) -> Callable[[str], list[str]]:
    """Returns a parser of names with commas, each of them one of `allowed`."""

    def parse(text: str) -> list[str]:
        found = text.split(",")
        unknown = [name for name in found if name not in allowed]
        if unknown:
            raise argparse.ArgumentTypeError(
                f"expected some of {','.join(allowed)}, received {','.join(unknown)}"
            )
        return found

    return parse


def positive(text: str) -> int:
    """Returns a whole number >= 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, received {value}")
    return value
