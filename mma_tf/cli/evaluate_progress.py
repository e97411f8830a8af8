"""What `bin/evaluate` prints while it runs."""

import time
from typing import TextIO

from mma_tf.evaluation.progress import Progress

_SECONDS_BETWEEN_LINES = 30.0
_SECONDS_BETWEEN_UPDATES = 0.5


class ProgressLines:
    """Prints where an evaluation is: in place on a terminal, line by line elsewhere.

    Args:
        out: Where to.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._in_place = out.isatty()
        self._shown_at = 0.0
        self._width = 0

    def show(self, progress: Progress) -> None:
        """Prints a line, unless the last one was printed a moment ago."""
        wait = _SECONDS_BETWEEN_UPDATES if self._in_place else _SECONDS_BETWEEN_LINES
        now = time.monotonic()
        if not self._shown_at:
            self._shown_at = now if not self._in_place else 0.0
        if progress.is_end:
            self._print(describe(progress))
            self._shown_at = now
        elif now - self._shown_at >= wait:
            self._shown_at = now
            if self._in_place:
                text = describe(progress)
                self._out.write("\r" + text.ljust(self._width))
                self._width = len(text)
                self._out.flush()
            else:
                self._print(describe(progress))

    def _print(self, text: str) -> None:
        start = "\r" if self._width else ""
        self._out.write(start + text.ljust(self._width) + "\n")
        self._width = 0
        self._out.flush()


def describe(progress: Progress) -> str:
    """Returns a line: the attack, how far it is, what is still right, time left."""
    where = "" if progress.eps is None else f"eps {progress.eps:.4g} "
    if progress.num_shards > 1:
        where = f"shard {progress.shard} of {progress.num_shards}, {where}"
    parts = [f"  {where}{progress.stage}"]
    if progress.is_end:
        parts.append("done")
    else:
        if progress.num_passes > 1:
            parts.append(f"{progress.pass_number} of {progress.num_passes}")
        parts.append(f"{100 * progress.share_done:.0f} %")
    if progress.eps is not None:
        parts.append(f"{100 * progress.share_right:.2f} % still right")
    if progress.seconds_left is not None:
        whose = " for this shard" if progress.num_shards > 1 else ""
        left = format_seconds(progress.seconds_left)
        parts.append(f"at most {left} left{whose}")
    return ", ".join(parts)


def format_seconds(seconds: float) -> str:
    """Returns a length of time as people say it: 40 s, 12 min, 3 h 05 min."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02d} min"
