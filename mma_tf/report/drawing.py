"""How the pictures of a report are drawn: style, size and file."""

import contextlib
import functools
import io
import warnings
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

P = ParamSpec("P")
R = TypeVar("R")

# Okabe & Ito, 2008: told apart by the colour-blind too. Yellow is too faint for lines.
COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
)
# Beside the colours, so that a picture can be read without them.
MARKERS = "osD^vPX"
LINES = ("-", "--", "-.", ":")
PERCENT = FuncFormatter(lambda share, _: f"{100 * share:.3g} %")
# Of a PNG file: a text that the picture does not show.
NOTE = "Comment"
_DPI = 150
WIDTH = 7.0
_STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 9,
    # A dollar in a name is a dollar.
    "text.parse_math": False,
}
_LONGEST_NAME = 70


@contextlib.contextmanager
def _style() -> Iterator[None]:
    # Not what a matplotlibrc says: the same results give the same picture everywhere.
    with matplotlib.rc_context(), warnings.catch_warnings():
        # Of letters that the font has not, as in names of classes: a box is drawn.
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Returns a function that draws in this module's style, whatever is set else."""

    @functools.wraps(draw)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with _style():
            return draw(*args, **kwargs)

    return wrapper


@styled
def png_bytes(figure: Figure, *, note: str | None = None) -> bytes:
    """Returns a picture as a PNG file; the same picture gives the same bytes.

    Args:
        figure: The picture.
        note: A text that the file keeps as its `NOTE`.
    """
    stream = io.BytesIO()
    # matplotlib would write its version.
    canvas = FigureCanvasAgg(figure)
    notes = {"Software": None} | ({} if note is None else {NOTE: note})
    canvas.print_png(stream, metadata=notes)
    return stream.getvalue()


@styled
def pdf_bytes(figure: Figure) -> bytes:
    """Returns a picture as a PDF file; the same picture gives the same bytes."""
    stream = io.BytesIO()
    # matplotlib would write its version and the hour.
    nothing = {"Creator": None, "Producer": None, "CreationDate": None}
    FigureCanvasPdf(figure).print_pdf(stream, metadata=nothing)
    FigureCanvasAgg(figure)
    return stream.getvalue()


def new_figure(width: float, height: float) -> Figure:
    """Returns an empty picture of a size in inches, known to no window system."""
    figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained")
    # A figure of its own canvas, in place of one that pyplot would manage.
    FigureCanvasAgg(figure)
    return figure


def shorten(name: str, longest: int = _LONGEST_NAME) -> str:
    """Returns a name that fits into a picture, its middle left out where it is long."""
    if len(name) > longest:
        half = (longest - 3) // 2
        name = f"{name[:half]}...{name[-half:]}"
    # A legend leaves out what begins with an underscore.
    return f" {name}" if name.startswith("_") else name
