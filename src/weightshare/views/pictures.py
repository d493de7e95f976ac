"""Pictures as data URIs, drawn without matplotlib's global state, whatever the user's settings are.

They are transparent. All colors have a contrast of at least 3 both to white and to the background of dark
pages, and they were chosen so that their smallest difference under simulated color blindness is large.
"""

# the types of matplotlib are incomplete
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false

import base64
import io
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from .colors import INK
from .escape import escape_controls
from .kernels import draw_kernels
from .numbers import abbreviate

PALETTE = ("#7A7A7A", "#C3290B", "#365BD9", "#B78826", "#149DC2", "#A03AA4", "#FD43B0", "#A56BFE")
MARKERS = "osD^vP*X"
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "weightshare",
    "svg.fonttype": "path",
    "text.usetex": False,
    "text.parse_math": False,  # "$" in a name does not start a formula
    "text.color": INK,
    "font.size": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.grid": True,
    "grid.color": INK,
    "grid.alpha": 0.2,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "savefig.bbox": None,
    "savefig.facecolor": "auto",
    "savefig.transparent": False,
}
_WIDTH, _HEIGHT = 5.0, 3.4  # inches, without the legend; the text is still readable on a phone
_LEAST_SPACE = 0.12  # between the labels of a logarithmic axis, as a share of its length
_LONG_NAME, _MAX_LINE = 30, 62  # characters of a legend entry with a line of its own, and of such a line


@dataclass(frozen=True)
class Series:
    """One line or set of points of a chart.

    Args:
        name: Name in the legend.
        color: Index into the palette, modulo its length. A series and its hollow counterpart share it.
        hollow: Whether markers are hollow and lines dashed.
        x: Horizontal coordinates.
        y: Vertical coordinates.
        low: Lower ends of the intervals of `y`; None if there are no intervals.
        high: Upper ends of the intervals of `y`; None if there are no intervals.
    """

    name: str
    color: int
    hollow: bool
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None


def draw_points(
    series: Sequence[Series], xlabel: str, ylabel: str, *, low: float = -inf, high: float = inf
) -> str:
    """Draw points with intervals over a logarithmic x axis, and return an SVG data URI.

    Args:
        low, high: Lowest and highest possible value; the y axis does not go beyond them.
    """
    with matplotlib.rc_context(STYLE):
        figure, axes = _make_figure()
        for one in series:
            errors = _get_error_bars(one)
            axes.errorbar(
                one.x,
                one.y,
                yerr=errors,
                fmt=_get_marker(one),
                capsize=3,
                clip_on=False,
                **_get_style(one),
                label=_wrap(one.name),
            )
        _set_log_axis(axes)
        axes.margins(x=0.08, y=0.1)
        _limit(axes, low, high)
        return _finish(figure, axes, xlabel, ylabel)


def draw_lines(
    series: Sequence[Series],
    xlabel: str,
    ylabel: str,
    *,
    markers: bool = False,
    low: float = -inf,
    high: float = inf,
    log: bool = False,
) -> str:
    """Draw lines with bands for their intervals, and return an SVG data URI.

    A logarithmic axis has a tick at each value, unless it would be too close to the one before.

    Args:
        markers: Whether to draw a marker at each value.
        low, high: Values below and above which lines without markers are cut off. The y axis does not go
            beyond them.
        log: Whether the x axis is logarithmic.
    """
    with matplotlib.rc_context(STYLE):
        figure, axes = _make_figure()
        for one in series:
            style: dict[str, Any] = {
                **_get_style(one),
                "linestyle": "--" if one.hollow else "-",
                "linewidth": 1.6,
            }
            axes.plot(
                one.x,
                one.y,
                marker=_get_marker(one) if markers else "",
                clip_on=not markers,
                label=_wrap(one.name),
                **style,
            )
            if one.low is not None and one.high is not None:
                color = PALETTE[one.color % len(PALETTE)]
                axes.fill_between(one.x, one.low, one.high, color=color, alpha=0.1, linewidth=0)
        if log:
            _set_log_axis(axes)
            axes.set_xticks(_space({x for one in series for x in one.x}))
        else:
            axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        _limit(axes, low, high)
        return _finish(figure, axes, xlabel, ylabel)


def draw_tiles(images: np.ndarray, row_labels: Sequence[str] = (), column_labels: Sequence[str] = ()) -> str:
    """Draw small images in a grid, and return a PNG data URI.

    Positive values are light and orange, negative ones dark and purple.

    Args:
        images: Values of the images [rows, columns, height, width].
        row_labels: Labels to the left of the rows.
        column_labels: Labels above the columns.
    """
    with matplotlib.rc_context(STYLE):
        return _encode(draw_kernels("draw_tiles", images, row_labels, column_labels, scale=False), "png")


def _make_figure() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_WIDTH, _HEIGHT), layout="constrained", facecolor="none")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.patch.set_visible(False)
    return figure, axes


def _limit(axes: Axes, low: float, high: float) -> None:
    bottom, top = axes.get_ylim()
    axes.set_ylim(max(bottom, low), min(top, high))


def _space(values: Iterable[float]) -> list[float]:
    """Return the values from the largest to the smallest, without those whose labels would overlap.

    >>> _space([100, 300, 320])
    [320, 100]
    """
    ordered = sorted(values, reverse=True)
    least = (ordered[0] / ordered[-1]) ** _LEAST_SPACE
    kept: list[float] = []
    for value in ordered:
        if not kept or kept[-1] >= least * value:
            kept.append(value)
    return kept


def _set_log_axis(axes: Axes) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: abbreviate(value)))
    axes.xaxis.set_minor_formatter(FuncFormatter(lambda value, _: ""))


def _wrap(name: str) -> str:
    """Return the name in lines that fit below a chart."""
    return textwrap.fill(escape_controls(name), _MAX_LINE)


def _get_style(one: Series) -> dict[str, Any]:
    color = PALETTE[one.color % len(PALETTE)]
    return {"color": color, "markerfacecolor": "none" if one.hollow else color, "markersize": 7}


def _get_marker(one: Series) -> str:
    return MARKERS[one.color % len(MARKERS)]


def _get_error_bars(one: Series) -> np.ndarray | None:
    if one.low is None or one.high is None:
        return None
    return np.array([np.subtract(one.y, one.low), np.subtract(one.high, one.y)])


def _finish(figure: Figure, axes: Axes, xlabel: str, ylabel: str) -> str:
    axes.set_xlabel(escape_controls(xlabel))
    axes.set_ylabel(escape_controls(ylabel))
    names = [str(line.get_label()) for line in axes.get_legend_handles_labels()[0]]
    columns = 1 if max(map(len, names)) > _LONG_NAME else 2
    lines = sum(name.count("\n") + 1 for name in names) / columns
    figure.set_figheight(_HEIGHT + 0.2 * lines)
    figure.legend(loc="outside lower center", ncols=columns, fontsize=9)
    return _encode(figure, "svg")


def _encode(figure: Figure, kind: str) -> str:
    buffer = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else {"Software": None}
    figure.savefig(buffer, format=kind, dpi=160, metadata=metadata)
    mime = "image/svg+xml" if kind == "svg" else "image/png"
    return f"data:{mime};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
