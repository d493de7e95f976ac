"""Pictures of small kernels in a grid."""

# the types of matplotlib are incomplete
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .colors import INK, SIGNED
from .figure import SMALL_SIZE, get_figure, open_axes

_MAX_GRID = 12  # kernels per axis
_WIDTH, _TAP = 5.2, 0.13  # largest width of the grid, and largest width of a tap, in inches


def choose_indices(length: int) -> list[int]:
    """Return at most 12 evenly spaced indices of an axis, including both ends.

    >>> choose_indices(5)
    [0, 1, 2, 3, 4]
    """
    if length <= _MAX_GRID:
        return list(range(length))
    return [round(i * (length - 1) / (_MAX_GRID - 1)) for i in range(_MAX_GRID)]


def draw_kernels(
    where: str,
    kernels: np.ndarray,
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    *,
    title: str = "",
    note: str = "",
    scale: bool = True,
    ax: Axes | None = None,
) -> Figure:
    """Draw kernels in a grid with one color scale, symmetric about zero, and return the figure.

    Positive values are light and orange, negative values dark and purple. Values that are not finite are left
    blank.

    Args:
        where: Name of the function that draws, for errors.
        kernels: Values of the kernels [rows, columns, height, width].
        row_labels: Labels to the left of the rows.
        column_labels: Labels above the columns.
        title: Text above the picture.
        note: Text below the picture.
        scale: Whether to draw the color scale.
        ax: Axes to draw on; None for a new figure.
    """
    rows, columns, *taps = kernels.shape
    step_y, step_x = taps[0] + 1, taps[1] + 1
    canvas = np.full((rows * step_y, columns * step_x), np.nan)
    for row in range(rows):
        for column in range(columns):
            top, left = row * step_y, column * step_x
            canvas[top : top + taps[0], left : left + taps[1]] = kernels[row, column]
    canvas = canvas[:-1, :-1]
    values = np.where(np.isfinite(canvas), canvas, np.nan)
    limit = float(np.nan_to_num(np.abs(values)).max()) or 1.0
    unit = min(_TAP, _WIDTH / max(values.shape))
    size = unit * values.shape[1], unit * values.shape[0]
    width, height = max(size[0], 1) + (1 if scale else 0.2), max(size[1], 0.8) + 0.4
    axes = open_axes(where, ax, width, height, title, note)
    image = axes.imshow(values, cmap=SIGNED, vmin=-limit, vmax=limit, interpolation="none", aspect="equal")
    axes.xaxis.tick_top()
    axes.set_xticks([i * step_x + (taps[1] - 1) / 2 for i in range(len(column_labels))], column_labels)
    axes.set_yticks([i * step_y + (taps[0] - 1) / 2 for i in range(len(row_labels))], row_labels)
    axes.tick_params(length=0, colors=INK, labelsize=SMALL_SIZE)
    if scale:
        bar = get_figure(axes).colorbar(image, ax=axes, ticks=[-limit, 0, limit], format="%.2g", aspect=30)
        bar.ax.tick_params(length=2, colors=INK, labelsize=SMALL_SIZE)
        bar.outline.set_visible(False)
    return get_figure(axes)
