"""Pictures of which positions of a layer use which bank."""

# the types of numpy are incomplete
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from collections.abc import Sequence
from math import ceil, sqrt

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .cells import Plane, draw_cells
from .letters import LETTERS
from .numbers import format_count

_MAX_CORRECTIONS = 3  # corrections that are drawn


def draw_positions(
    where: str,
    labels: Sequence[int],
    size: Sequence[int],
    banks: int,
    *,
    mixed: bool,
    title: str,
    ax: Axes | None = None,
) -> Figure:
    """Draw the bank of each position, and return the figure.

    The planes of a 3d size are drawn next to each other. Weighted corrections are drawn after the bank that
    all positions share; their shading only illustrates that the weights vary with the position.

    Args:
        where: Name of the function that draws, for errors.
        labels: Bank of each position, row-major.
        size: Number of positions per axis, one to three axes.
        banks: Number of banks.
        mixed: Whether all banks after the first are corrections, weighted by position.
        title: Text above the picture.
        ax: Axes to draw on; None for a new figure.
    """
    grid = np.reshape(labels, (1,) * (3 - len(size)) + tuple(size))
    positions = f"{' x '.join(map(str, size))} position{'' if grid.size == 1 else 's'}"
    if mixed and banks > 1:
        planes = _stack_corrections(grid, min(banks - 1, _MAX_CORRECTIONS), len(size))
        note = f"{positions}, 1 shared bank + {_count(banks - 1, 'correction')}"
        if banks - 1 > _MAX_CORRECTIONS:
            note += f" ({_MAX_CORRECTIONS} shown)"
        shown = min(banks, 1 + _MAX_CORRECTIONS)
        return draw_cells(where, planes, shown, title, note, ax)
    note = f"{positions}, {_count(banks, 'bank')}"
    return draw_cells(where, _arrange(grid), banks, title, note, ax)


def _arrange(grid: np.ndarray) -> list[list[Plane]]:
    """Return the planes of a grid [depth, rows, columns] in rows that form about a square."""
    depth, rows, columns = grid.shape
    across = min(depth, max(1, ceil(sqrt(depth * rows / columns))))
    planes = [Plane(plane, caption=f"plane {i}" if depth > 1 else "") for i, plane in enumerate(grid)]
    return [planes[start : start + across] for start in range(0, depth, across)]


def _stack_corrections(grid: np.ndarray, corrections: int, ndim: int) -> list[list[Plane]]:
    """Return the planes of the shared bank and of each correction, side by side if there is one plane each.

    For one axis, or for several planes, the corrections are below each other.
    """
    terms: list[list[Plane]] = []
    for k in range(corrections + 1):
        name = LETTERS[0] if k == 0 else f"+ A[p, {k}] {LETTERS[k]}"
        shades = [None] * len(grid) if k == 0 else _illustrate_weights(grid.shape, k)
        captions = [f"{name} (plane {i})" if len(grid) > 1 else name for i in range(len(grid))]
        terms.append([Plane(plane + k, s, c) for plane, s, c in zip(grid, shades, captions)])
    return [[plane for term in terms for plane in term]] if ndim == 2 else terms


def _illustrate_weights(shape: tuple[int, ...], k: int) -> list[np.ndarray]:
    """Return a smooth example of the weights of correction k, from 0.15 to 1 [depth, rows, columns]."""
    phases = [np.linspace(0, 1, n) if n > 1 else np.zeros(1) for n in shape]
    depth, rows, columns = np.meshgrid(*phases, indexing="ij")
    waves = np.cos(np.pi * k * (rows - 0.5 * (k % 2))) + np.cos(np.pi * (k * columns + depth - k % 2))
    low, high = waves.min(), waves.max()
    return list(0.15 + 0.85 * (waves - low) / ((high - low) or 1))


def _count(number: int, word: str) -> str:
    return f"{format_count(number)} {word}{'' if number == 1 else 's'}"
