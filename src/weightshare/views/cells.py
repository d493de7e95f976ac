"""Grids of lettered, colored cells: positions by bank, and connections by weight."""

# the types of matplotlib are incomplete
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from .colors import INK, choose_ink, color_banks
from .figure import LEAST_WIDTH, PLAIN, SMALL_SIZE, get_figure, measure, open_axes
from .letters import LETTERS

EMPTY, SEVERAL = -1, -2  # labels of cells without a bank, and with more than one

_CELL = 0.34  # inches
_WIDTH = 6.2  # largest width of a grid in inches
_LEAST_BOX = 0.14  # smallest cell that is drawn as a box, with a letter, in inches
_MAX_CAPTIONS = 64
_GAP = 0.08  # gap between lettered cells, in cells
_FLATTEST = 1 / 24  # smallest ratio of the sides of a grid


@dataclass(frozen=True)
class Plane:
    """One rectangle of cells.

    Args:
        labels: Bank of each cell [rows, columns], `EMPTY` or `SEVERAL`.
        shade: Strength of the color of each cell, from 0 to 1 [rows, columns]; None for full strength.
        caption: Text above the plane.
    """

    labels: np.ndarray
    shade: np.ndarray | None = None
    caption: str = ""


def draw_cells(
    where: str, planes: Sequence[Sequence[Plane]], banks: int, title: str, note: str, ax: Axes | None
) -> Figure:
    """Draw rows of planes of equal size, and return the figure.

    The cells have letters if there are at most 52 banks and if the cells are large enough.

    Args:
        where: Name of the function that draws, for errors.
        planes: Planes in rows from top to bottom.
        banks: Number of banks, which determines the colors.
        title: Text above the grid.
        note: Text below the grid.
        ax: Axes to draw on; None for a new figure.
    """
    rows, columns = planes[0][0].labels.shape
    down, across = len(planes), max(map(len, planes))
    captions = any(plane.caption for line in planes for plane in line) and down * across <= _MAX_CAPTIONS
    above = max(0.75, 0.2 * rows) if captions else max(0.5, 0.08 * rows)
    step_y, step_x = rows + above, columns + max(1, 0.12 * columns)
    height, width = down * step_y - above, across * step_x - (step_x - columns)
    cell = min(_CELL, _WIDTH / width, _WIDTH / height)
    view = width if ax is not None else max(width, LEAST_WIDTH / cell)  # small grids have margins
    shown_height = max(height * cell, width * cell * _FLATTEST)
    axes = open_axes(where, ax, view * cell, shown_height + 0.35, title, note, pad=20 if captions else 6)
    axes.set_box_aspect(shown_height / (view * cell))
    if ax is not None:
        available = measure(axes)
        cell = min(available[0] / width, available[1] / height)
    boxes = cell >= _LEAST_BOX
    colors = color_banks(banks)
    for i, line in enumerate(planes):
        for j, plane in enumerate(line):
            top, left = i * step_y, j * step_x
            paint = _paint_boxes if boxes else _paint_image
            paint(axes, plane, colors, top, left, cell)
            if captions:
                _write_caption(axes, plane.caption, left + columns / 2, top)
    axes.set_xlim((width - view) / 2, (width + view) / 2)
    axes.set_ylim(height, 0)
    return get_figure(axes)


def _write_caption(axes: Axes, caption: str, x: float, y: float) -> None:
    place: dict[str, Any] = {"xytext": (0, 2), "textcoords": "offset points", "annotation_clip": False}
    style: dict[str, Any] = {"fontsize": SMALL_SIZE, "color": INK, "ha": "center", "va": "bottom", **PLAIN}
    axes.annotate(caption, (x, y), **place, **style)


def _paint_boxes(axes: Axes, plane: Plane, colors: np.ndarray, top: float, left: float, cell: float) -> None:
    """Draw each cell as a box, with a letter if there are enough letters; cells without a bank get a dot."""
    fills = _fill(plane, colors)
    rows, columns = np.nonzero(plane.labels != EMPTY)
    corners = zip(left + columns + _GAP / 2, top + rows + _GAP / 2)
    boxes = [Rectangle(corner, 1 - _GAP, 1 - _GAP) for corner in corners]
    faces = fills[rows, columns]
    axes.add_collection(PatchCollection(boxes, facecolors=faces, edgecolors=INK, linewidths=0.4))
    style: dict[str, Any] = {"ha": "center", "va": "center_baseline", "fontsize": min(11, 40 * cell), **PLAIN}
    for row, column, face in zip(rows, columns, faces) if len(colors) <= len(LETTERS) else ():
        label = plane.labels[row, column]
        letter = "+" if label == SEVERAL else LETTERS[label]
        axes.text(left + column + 0.5, top + row + 0.5, letter, color=choose_ink(face[:3]), **style)
    rows, columns = np.nonzero(plane.labels == EMPTY)
    if len(rows):
        axes.plot(left + columns + 0.5, top + rows + 0.5, ".", markersize=max(1, 7 * cell), color=INK)


def _paint_image(axes: Axes, plane: Plane, colors: np.ndarray, top: float, left: float, cell: float) -> None:
    """Draw the cells as an image, with an outline."""
    rows, columns = plane.labels.shape
    extent = (left, left + columns, top + rows, top)
    axes.imshow(_fill(plane, colors), extent=extent, interpolation="none", aspect="auto")
    axes.add_patch(Rectangle((left, top), columns, rows, fill=False, edgecolor=INK, linewidth=0.6))


def _fill(plane: Plane, colors: np.ndarray) -> np.ndarray:
    """Return the color and opacity of each cell [rows, columns, 4]."""
    fills = np.ones((*plane.labels.shape, 4))
    fills[..., :3] = colors[np.maximum(plane.labels, 0)]
    fills[plane.labels == SEVERAL, :3] = 0.6
    fills[plane.labels == EMPTY] = 0
    if plane.shade is not None:
        fills[..., :3] = 1 - plane.shade[..., None] * (1 - fills[..., :3])
    return fills
