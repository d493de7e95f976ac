"""Figures without pyplot: transparent, with text that is readable on light and on dark pages.

Colors and sizes are set on the figure itself. The global settings of matplotlib are not changed.
"""

# the types of matplotlib are incomplete
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false

import io
import textwrap
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..errors import ArgumentError
from .colors import INK
from .escape import escape_controls

TITLE_SIZE, TEXT_SIZE, SMALL_SIZE = 10.5, 9.0, 8.0  # points
#: Properties of every text: dollar signs, backslashes and underscores are ordinary characters.
PLAIN: dict[str, Any] = {"parse_math": False, "usetex": False}
LEAST_WIDTH = 2.2  # of a new figure, in inches
_CHARACTER_WIDTH = 0.58  # mean width of a character, as a fraction of the font size


class Picture(Figure):
    """A figure that notebooks show although pyplot does not manage it."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=110, bbox_inches="tight", metadata={"Software": None})
        return buffer.getvalue()


def open_axes(
    where: str, ax: object, width: float, height: float, title: str = "", note: str = "", pad: float = 6
) -> Axes:
    """Return the given axes, or those of a new figure, with a title above and a note below them.

    They have no ticks, spines and background. Title and note are wrapped.

    Args:
        where: Name of the function that draws, for errors.
        ax: Axes to draw on; None for a new figure.
        width: Width of a new figure in inches.
        height: Height of a new figure in inches, without title and note.
        title: Text above the axes.
        note: Text below the axes.
        pad: Distance of the title from the axes in points.

    Raises:
        ArgumentError: If `ax` is neither axes nor None.
    """
    if ax is not None and not isinstance(ax, Axes):
        raise ArgumentError(where, "ax must be matplotlib Axes", type(ax).__name__)
    width = max(LEAST_WIDTH, width if ax is None else measure(ax)[0])
    title, note = wrap(title, width, TITLE_SIZE), wrap(note, width, TEXT_SIZE)
    if ax is None:
        text = pad + 1.4 * (_count_lines(title) * TITLE_SIZE + _count_lines(note) * TEXT_SIZE)
        figure = Picture(figsize=(width + 0.3, height + text / 72), layout="constrained", facecolor="none")
        FigureCanvasAgg(figure)
        ax = figure.add_subplot()
    ax.patch.set_visible(False)
    ax.grid(False)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.tick_params(length=0, colors=INK, labelsize=SMALL_SIZE)
    ax.spines[:].set_visible(False)
    ax.set_title(title, fontsize=TITLE_SIZE, color=INK, pad=pad, **PLAIN)
    ax.set_xlabel(note, fontsize=TEXT_SIZE, color=INK, **PLAIN)
    return ax


def get_figure(axes: Axes) -> Figure:
    """Return the figure that contains the axes, also if they are in a subfigure."""
    return axes.figure.figure


def measure(axes: Axes) -> tuple[float, float]:
    """Return the width and height of the axes in inches, as they are before the layout is computed."""
    box = axes.get_window_extent()
    dpi = get_figure(axes).dpi
    return box.width / dpi, box.height / dpi


def wrap(text: str, width: float, size: float) -> str:
    """Return the text in lines of at most `width` inches at a font size in points, and at most four lines."""
    characters = max(12, int(width * 72 / (size * _CHARACTER_WIDTH)))
    return textwrap.fill(escape_controls(text), characters, max_lines=4, placeholder=" ...")


def shorten(text: str, length: int) -> str:
    """Return the text with at most `length` characters, cut in the middle.

    >>> shorten("encoder.layers.0.conv", 13)
    'encod....conv'
    """
    text = escape_controls(text)
    if len(text) <= length:
        return text
    tail = (length - 3) // 2
    return f"{text[: length - 3 - tail]}...{text[len(text) - tail :]}"


def _count_lines(text: str) -> int:
    return text.count("\n") + 1 if text else 0
