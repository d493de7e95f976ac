"""Pictures of which weight each connection of a linear map uses."""

# the types of numpy are incomplete
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .cells import EMPTY, SEVERAL, Plane, draw_cells
from .colors import INK
from .figure import PLAIN, TEXT_SIZE
from .letters import LETTERS


def draw_connections(
    where: str,
    edges: np.ndarray,
    shape: tuple[int, int],
    weights: int,
    *,
    channels: tuple[int, int] = (1, 1),
    title: str,
    ax: Axes | None = None,
) -> Figure:
    """Draw the weight of each pair of an output and an input as a matrix, and return the figure.

    Args:
        where: Name of the function that draws, for errors.
        edges: Connections (output, input, weight) [connections, 3], sorted.
        shape: Number of outputs and of inputs.
        weights: Number of weights.
        channels: Number of channels of outputs and of inputs; lines separate them.
        title: Text above the matrix.
        ax: Axes to draw on; None for a new figure.
    """
    labels = np.full(shape, EMPTY)
    output, input_, weight = edges.T
    if weights > len(LETTERS):  # only the colors matter, so unused weights need none
        used, weight = np.unique(weight, return_inverse=True)
        weights = max(len(used), len(LETTERS) + 1)
    labels[output, input_] = weight
    repeated = np.flatnonzero(np.diff(output * shape[1] + input_) == 0)
    labels[output[repeated], input_[repeated]] = SEVERAL
    figure = draw_cells(where, [[Plane(labels)]], weights, title, "inputs", ax)
    axes = figure.axes[0] if ax is None else ax
    axes.set_ylabel("outputs", fontsize=TEXT_SIZE, color=INK, **PLAIN)
    for size, count, draw in zip(shape, channels, (axes.axhline, axes.axvline)):
        for place in range(size // count, size, size // count):
            draw(place, color=INK, linewidth=1)
    return figure
