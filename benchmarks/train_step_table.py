"""The table of `train_step.py`, and where it is written; imports no framework."""

import dataclasses
import datetime
import statistics
from collections.abc import Sequence
from pathlib import Path

from benchmarks.train_step_cases import Case
from benchmarks.train_step_worker import Mistake
from mma_tf.versions import processor

_MARK = "train_step"

HEADER = (
    "| case | steps | precision | ours, s | PyTorch, s | ours, images/s "
    "| PyTorch, images/s | PyTorch / ours (quartiles) "
    "| plain PyTorch / ours (quartiles) "
    "| goal | right, ours / PyTorch "
    "| AN-PGD, share of the convolution peak | first step, s "
    "| peak memory, ours / PyTorch, GiB | other load |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|"
)


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        case: What was measured.
        our_seconds: Of a step, one number a pair.
        their_seconds: Likewise, of PyTorch in the memory layout that is faster here.
        plain_seconds: Likewise, of PyTorch in its own layout.
        our_right: Share of the examples that were classified right (by an attack: that
            still are).
        their_right: Likewise.
        our_eps: Average margin found, in pixel units; None of an attack.
        their_eps: Likewise.
        their_layout: Memory layout that is faster for PyTorch.
        first_step: Seconds to build, to trace and to make the first step.
        our_peak_bytes: Peak resident memory.
        their_peak_bytes: Likewise.
        other_load: Share of the machine that other processes took meanwhile.
        attack_seconds: Of AN-PGD alone, the median; None of an attack.
        attack_operations: Of AN-PGD on all examples of a batch.
        convolution_peak: Operations a second, in our precision, the median of the
            best in turns with AN-PGD.
    """

    case: Case
    our_seconds: list[float]
    their_seconds: list[float]
    plain_seconds: list[float]
    our_right: float
    their_right: float
    our_eps: float | None
    their_eps: float | None
    their_layout: str
    first_step: float
    our_peak_bytes: int | None
    their_peak_bytes: int | None
    other_load: float
    attack_seconds: float | None = None
    attack_operations: float | None = None
    convolution_peak: float | None = None

    @property
    def ratios(self) -> list[float]:
        """PyTorch's seconds over ours, one number a pair."""
        return _divide(self.their_seconds, self.our_seconds)

    @property
    def plain_ratios(self) -> list[float]:
        """The same of PyTorch in its own layout."""
        return _divide(self.plain_seconds, self.our_seconds)

    @property
    def share_of_peak(self) -> float | None:
        """How much of the convolution peak AN-PGD reaches."""
        if not (self.attack_seconds and self.attack_operations):
            return None
        if not self.convolution_peak:
            return None
        return self.attack_operations / self.attack_seconds / self.convolution_peak

    def markdown(self) -> str:
        """Returns the line."""
        case = self.case
        ours = statistics.median(self.our_seconds)
        theirs = statistics.median(self.their_seconds)
        steps = f"{case.attack_steps} + {case.search_steps}"
        share = self.share_of_peak
        cells = [
            f"`{case.name}`, batch {case.batch_size}",
            steps if case.is_training else "1 of PGD",
            case.precision,
            f"{ours:.3g}",
            f"{theirs:.3g}",
            f"{case.batch_size / ours:.0f}",
            f"{case.batch_size / theirs:.0f}",
            _with_quartiles(self.ratios),
            _with_quartiles(self.plain_ratios),
            "" if case.goal is None else f"{case.goal:g}",
            f"{self.our_right:.0%} / {self.their_right:.0%}",
            "" if share is None else f"{share:.0%}",
            f"{self.first_step:.1f}",
            f"{_gibibytes(self.our_peak_bytes)} / {_gibibytes(self.their_peak_bytes)}",
            f"{self.other_load:.0%}",
        ]
        return f"| {' | '.join(cells)} |"


def heading(
    versions: Sequence[str],
    device: str,
    threads: int,
    peaks: dict[str, dict[str, float]],
    pairs: int,
) -> str:
    """Returns what stands above the table.

    Args:
        versions: Of the libraries on both sides.
        device: Name of the GPU; empty on a processor.
        threads: Processor cores that each side may use.
        peaks: See `machine_peak.measure_peaks`.
        pairs: How often both sides ran.
    """
    rates = [
        f"{name} {rate / 1e9:,.0f} ({dtype})"
        for name, by_dtype in peaks.items()
        for dtype, rate in by_dtype.items()
    ]
    return (
        f"Measured on {datetime.date.today().isoformat()} on {device or 'the CPU'}; "
        f"{processor()}, {threads} threads; {'; '.join(versions)}; medians of {pairs} "
        f"pairs. The machine's best in TensorFlow, GFLOP/s: {', '.join(rates)}."
    )


def write_section(path: Path, text: str, mark: str = _MARK) -> None:
    """Puts `text` between two marks in a file, in place of what stands there.

    Args:
        path: The file.
        text: What to put there.
        mark: The marks are `<!-- {mark}:begin -->` and `<!-- {mark}:end -->`.

    Raises:
        Mistake: If the file cannot be read or has no such marks.
    """
    before, after = _around_section(path, mark)
    begin, end = _marks(mark)
    path.write_text(f"{before}{begin}\n{text}\n{end}{after}", "utf-8")


def check_section(path: Path, mark: str = _MARK) -> None:
    """Raises `Mistake` if `write_section` would."""
    _around_section(path, mark)


def _marks(mark: str) -> tuple[str, str]:
    return f"<!-- {mark}:begin -->", f"<!-- {mark}:end -->"


def _around_section(path: Path, mark: str) -> tuple[str, str]:
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise Mistake(
            f"--write_readme={path} cannot be read: {error.strerror}."
        ) from None
    first, last = _marks(mark)
    before, begin, rest = text.partition(first)
    _, end, after = rest.partition(last)
    if not (begin and end):
        raise Mistake(
            f"--write_readme={path} has no place for the table: a line {first} and, "
            f"after it, a line {last}."
        )
    return before, after


def _divide(values: Sequence[float], by: Sequence[float]) -> list[float]:
    return [value / other for value, other in zip(values, by, strict=True)]


def _with_quartiles(values: Sequence[float]) -> str:
    median = f"{statistics.median(values):.2f}"
    if len(values) < 2:
        return median
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{median} ({low:.2f}-{high:.2f})"


def _gibibytes(size: int | None) -> str:
    return "?" if size is None else f"{size / 2**30:.2f}"
