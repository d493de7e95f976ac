"""Pictures as data URIs, drawn without matplotlib's global state.

The colors are distinguishable with all common kinds of color vision.

Source of the palette: Okabe and Ito, "Color Universal Design", 2008.
"""

# the types of matplotlib are incomplete
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from .escape import escape_controls
from .kernels import draw_kernels
from .numbers import abbreviate

PALETTE = ("#000000", "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C7A00")
MARKERS = "osD^vP*X"
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "weightshare",
    "svg.fonttype": "path",
    "text.parse_math": False,  # "$" in a name does not start a formula
    "font.size": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#555555",
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "axes.axisbelow": True,
    "legend.frameon": False,
}


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


def draw_points(series: Sequence[Series], xlabel: str, ylabel: str) -> str:
    """Draw points with intervals over a logarithmic x axis, and return an SVG data URI."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _make_figure(7.6, 4.2)
        for one in series:
            errors = _get_error_bars(one)
            axes.errorbar(
                one.x,
                one.y,
                yerr=errors,
                fmt=_get_marker(one),
                capsize=3,
                **_get_style(one),
                label=escape_controls(one.name),
            )
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: abbreviate(value)))
        axes.xaxis.set_minor_formatter(FuncFormatter(lambda value, _: ""))
        axes.margins(x=0.08, y=0.1)
        return _finish(figure, axes, xlabel, ylabel)


def draw_lines(
    series: Sequence[Series], xlabel: str, ylabel: str, markers: bool = False, floor: float | None = None
) -> str:
    """Draw lines with bands for their intervals, and return an SVG data URI.

    Args:
        markers: Whether to draw a marker at each value.
        floor: Value below which lines are cut off; None to show all values.
    """
    with matplotlib.rc_context(STYLE):
        figure, axes = _make_figure(7.6, 4.2)
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
                label=escape_controls(one.name),
                **style,
            )
            if one.low is not None and one.high is not None:
                color = PALETTE[one.color % len(PALETTE)]
                axes.fill_between(one.x, one.low, one.high, color=color, alpha=0.1, linewidth=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if floor is not None and axes.get_ylim()[0] < floor:
            axes.set_ylim(bottom=floor)
        return _finish(figure, axes, xlabel, ylabel)


def draw_tiles(images: np.ndarray, row_labels: Sequence[str] = (), column_labels: Sequence[str] = ()) -> str:
    """Draw small images in a grid, and return a PNG data URI.

    Positive values are light and orange, negative ones dark and purple.

    Args:
        images: Values of the images [rows, columns, height, width].
        row_labels: Labels to the left of the rows.
        column_labels: Labels above the columns.
    """
    return _encode(draw_kernels("draw_tiles", images, row_labels, column_labels, scale=False), "png")


def _make_figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def _get_style(one: Series) -> dict[str, Any]:
    color = PALETTE[one.color % len(PALETTE)]
    return {"color": color, "markerfacecolor": "white" if one.hollow else color, "markersize": 7}


def _get_marker(one: Series) -> str:
    return MARKERS[one.color % len(MARKERS)]


def _get_error_bars(one: Series) -> np.ndarray | None:
    if one.low is None or one.high is None:
        return None
    return np.array([np.subtract(one.y, one.low), np.subtract(one.high, one.y)])


def _finish(figure: Figure, axes: Axes, xlabel: str, ylabel: str) -> str:
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    figure.legend(loc="outside lower center", ncols=2, fontsize=9)
    return _encode(figure, "svg")


def _encode(figure: Figure, kind: str) -> str:
    buffer = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else {"Software": None}
    figure.savefig(buffer, format=kind, dpi=160, metadata=metadata)
    mime = "image/svg+xml" if kind == "svg" else "image/png"
    return f"data:{mime};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
