"""Pictures as data URIs, drawn without matplotlib's global state, in colours that everyone can tell apart.

Source: Okabe and Ito, "Color Universal Design", 2008 (the palette).
"""

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

from .escape import visible
from .numbers import short

PALETTE = ("#000000", "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C7A00")
MARKERS = "osD^vP*X"
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "weightshare",
    "svg.fonttype": "path",
    "text.parse_math": False,  # names from outside are text, "$" included
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
    """One line or point of a chart.

    Args:
        name: For the legend.
        colour: Its place in the palette; a partner drawn hollow has the same.
        hollow: Whether markers are hollow and lines dashed.
        x, y: The values.
        low, high: Ends of the intervals of `y`; None where there are none.
    """

    name: str
    colour: int
    hollow: bool
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None


def points(series: Sequence[Series], xlabel: str, ylabel: str) -> str:
    """Named points with intervals over a logarithmic axis, as an SVG data URI."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _figure(7.6, 4.2)
        for one in series:
            errors = _errors(one)
            axes.errorbar(
                one.x, one.y, yerr=errors, fmt=_marker(one), capsize=3, **_look(one), label=visible(one.name)
            )
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
        axes.xaxis.set_minor_formatter(FuncFormatter(lambda value, _: ""))
        axes.margins(x=0.08, y=0.1)
        return _finished(figure, axes, xlabel, ylabel)


def lines(
    series: Sequence[Series], xlabel: str, ylabel: str, markers: bool = False, floor: float | None = None
) -> str:
    """Lines, each with the band of its interval where it has one, as an SVG data URI.

    Args:
        markers: Whether to mark the values.
        floor: What lies below is cut off.
    """
    with matplotlib.rc_context(STYLE):
        figure, axes = _figure(7.6, 4.2)
        for one in series:
            look = {**_look(one), "linestyle": "--" if one.hollow else "-", "linewidth": 1.6}
            axes.plot(one.x, one.y, marker=_marker(one) if markers else "", label=visible(one.name), **look)
            if one.low is not None and one.high is not None:
                colour = PALETTE[one.colour % len(PALETTE)]
                axes.fill_between(one.x, one.low, one.high, color=colour, alpha=0.1, linewidth=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if floor is not None and axes.get_ylim()[0] < floor:
            axes.set_ylim(bottom=floor)
        return _finished(figure, axes, xlabel, ylabel)


def tiles(images: np.ndarray, row_labels: Sequence[str] = (), column_labels: Sequence[str] = ()) -> str:
    """Small images in a grid, as a PNG data URI: orange is above zero, purple below.

    Shape:
        images [rows, columns, height, width]

    Args:
        row_labels, column_labels: Written at the left and on top.
    """
    rows, columns, height, width = images.shape
    canvas = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1), np.nan)
    for row in range(rows):
        for column in range(columns):
            top, left = row * (height + 1), column * (width + 1)
            canvas[top : top + height, left : left + width] = images[row, column]
    limit = float(np.nanmax(np.abs(images))) or 1.0
    with matplotlib.rc_context({**STYLE, "axes.grid": False, "font.size": 8}):
        unit = min(0.13, 6.4 / canvas.shape[1])
        figure, axes = _figure(unit * canvas.shape[1] + 0.5, unit * canvas.shape[0] + 0.45)
        axes.imshow(canvas, cmap="PuOr_r", vmin=-limit, vmax=limit, interpolation="nearest")
        axes.xaxis.tick_top()
        ticks = [(i * (width + 1) + (width - 1) / 2) for i in range(len(column_labels))]
        axes.set_xticks(ticks, column_labels)
        ticks = [(i * (height + 1) + (height - 1) / 2) for i in range(len(row_labels))]
        axes.set_yticks(ticks, row_labels)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        return _uri(figure, "png")


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def _look(one: Series) -> dict[str, Any]:
    colour = PALETTE[one.colour % len(PALETTE)]
    return {"color": colour, "markerfacecolor": "white" if one.hollow else colour, "markersize": 7}


def _marker(one: Series) -> str:
    return MARKERS[one.colour % len(MARKERS)]


def _errors(one: Series) -> np.ndarray | None:
    if one.low is None or one.high is None:
        return None
    return np.array([np.subtract(one.y, one.low), np.subtract(one.high, one.y)])


def _finished(figure: Figure, axes: Axes, xlabel: str, ylabel: str) -> str:
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    figure.legend(loc="outside lower center", ncols=2, fontsize=9)
    return _uri(figure, "svg")


def _uri(figure: Figure, kind: str) -> str:
    buffer = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else {"Software": None}
    figure.savefig(buffer, format=kind, dpi=160, metadata=metadata)
    mime = "image/svg+xml" if kind == "svg" else "image/png"
    return f"data:{mime};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
