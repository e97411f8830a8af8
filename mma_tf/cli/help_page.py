"""What `--help` prints."""

import shutil
import textwrap
from collections.abc import Mapping, Sequence

_WIDEST = 100


def help_page(usage: str, groups: Mapping[str, Sequence[tuple[str, str]]]) -> str:
    """Returns a page: the usage, then each group of (flag, description).

    Args:
        usage: What the command is for, and examples.
        groups: By heading; flags without dashes.
    """
    width = min(shutil.get_terminal_size().columns, _WIDEST)
    parts = [
        "\n".join([f"{heading}:", *(_entry(*flag, width) for flag in flags)])
        for heading, flags in groups.items()
    ]
    return "\n".join([usage, "\n\n".join(parts)])


def _entry(name: str, text: str, width: int) -> str:
    return textwrap.fill(
        text,
        width,
        initial_indent=f"  --{name}  ",
        subsequent_indent=" " * 6,
        break_long_words=False,
        break_on_hyphens=False,
    )
