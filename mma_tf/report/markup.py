"""Markdown's tables and escapes."""

import re
from collections.abc import Sequence

# What Markdown would take for markup in a name.
_MARKUP = re.compile(r"([\\`*_\[\]<>|#$])")


def table(rows: Sequence[Sequence[str]]) -> str:
    """Returns a table; the first row is its head, the first column of words."""
    head, *body = rows
    rule = ["---", *["---:" for _ in head[1:]]]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, rule, *body])


def escaped(text: str) -> str:
    """Returns text as Markdown that shows it as it is, on one line."""
    return _MARKUP.sub(r"\\\1", " ".join(text.split()))


def code(text: str) -> str:
    """Returns text to stand within backticks."""
    # Within a code span no escape works.
    return " ".join(text.replace("`", "'").split())
