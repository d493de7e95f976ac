"""Charts of the error that each operation of a model makes, and of the one where it begins."""

# the types of matplotlib are incomplete
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, isfinite, log10
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .colors import ACCENT, INK, WARNING
from .figure import PLAIN, SMALL_SIZE, TEXT_SIZE, get_figure, open_axes, shorten

_MAX_DRAWN, _MAX_NAME = 40, 36
_WIDTH = 7.2  # inches


@dataclass(frozen=True)
class Step:
    """The errors of one operation.

    Args:
        name: Name of the operation.
        kind: Type of the operation.
        own: Error of the operation alone; None if it is unknown.
        so_far: Error up to and including the operation; None if it is unknown.
        cause: Reason for the error; empty if there is none.
        is_first: Whether the error begins here.
    """

    name: str
    kind: str
    own: float | None
    so_far: float | None
    cause: str
    is_first: bool


def draw_losses(
    where: str, steps: Sequence[Step], floor_error: float, *, title: str, ax: Axes | None = None
) -> Figure:
    """Draw the errors of each operation on a logarithmic axis, and return the figure.

    If there are more than 40 operations, those without a cause are left out, and then those at the end; a
    note below the chart reports how many.

    Args:
        where: Name of the function that draws, for errors.
        steps: Operations in order of execution.
        floor_error: Errors up to this count as exact, and are drawn at the left.
        title: Text above the chart.
        ax: Axes to draw on; None for a new figure.
    """
    shown = list(steps)
    if len(shown) > _MAX_DRAWN:
        shown = [step for step in shown if step.cause or step.is_first][:_MAX_DRAWN]
    hidden = len(steps) - len(shown)
    note = f"relative error{f'; {hidden} operations are not shown' if hidden else ''}"
    axes = open_axes(where, ax, _WIDTH, 0.24 * max(len(shown), 2) + 0.6, title, note, pad=24)
    errors = [e for step in shown for e in (step.own, step.so_far) if e is not None and isfinite(e)]
    low, high = _find_decades([e for e in errors if e > floor_error])
    for y, step in enumerate(shown):
        _draw_step(axes, step, y, floor_error, low, high)
    axes.set_xlim(low - 1.3, high + 0.3)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.axvline(low - 0.5, color=INK, linewidth=0.8, linestyle=(0, (2, 3)))
    every = ceil((high - low + 1) / 6)
    exponents = range(high, low - 1, -every)
    names = ["exact", *("1" if k == 0 else f"{10.0**k:g}" for k in exponents)]
    axes.set_xticks([low - 1, *exponents], names)
    axes.tick_params(axis="x", length=3, colors=INK, labelsize=SMALL_SIZE)
    axes.spines["bottom"].set(visible=True, color=INK)
    names = [f"{shorten(step.name, _MAX_NAME)}  {shorten(step.kind, _MAX_NAME)}" for step in shown]
    for label, step in zip(axes.set_yticks(range(len(shown)), names), shown):
        label.label1.set(**PLAIN, color=WARNING if step.is_first else INK)
        label.label1.set_fontweight("bold" if step.is_first else "normal")
    _draw_legend(axes)
    return get_figure(axes)


def _draw_step(axes: Axes, step: Step, y: int, floor_error: float, low: int, high: int) -> None:
    """Draw one operation: a bar for its own error, a diamond for the error so far, and the cause."""
    if step.is_first:
        axes.axhspan(y - 0.5, y + 0.5, color=WARNING, alpha=0.15, linewidth=0)
    if step.own is not None:
        x = _place(step.own, floor_error, low, high)
        if step.own <= floor_error:
            axes.plot([x], [y], "s", markersize=4, color=ACCENT)
        else:
            axes.plot([low - 1.3, x], [y, y], color=ACCENT, linewidth=5, solid_capstyle="butt")
    if step.so_far is not None:
        x = _place(step.so_far, floor_error, low, high)
        axes.plot(
            [x], [y], "D", markersize=6, markerfacecolor="none", markeredgecolor=INK, markeredgewidth=1.6
        )
    text = ", ".join(part for part in ("first loss" if step.is_first else "", step.cause) if part)
    if step.own is None and step.so_far is None:
        text = text or "unknown"
    style: dict[str, Any] = {"color": WARNING, "weight": "bold"} if step.is_first else {"color": INK}
    place: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "va": "center", "fontsize": SMALL_SIZE}
    axes.annotate(shorten(text, _MAX_NAME), (1.01, y), **place, **style, **PLAIN)


def _find_decades(errors: Sequence[float]) -> tuple[int, int]:
    """Return the exponents between which the errors are, at least one decade apart.

    >>> _find_decades([0.003, 0.2]), _find_decades([])
    ((-3, 0), (-1, 0))
    """
    if not errors:
        return -1, 0
    high = ceil(log10(max(errors)))
    return min(floor(log10(min(errors))), high - 1), high


def _place(error: float, floor_error: float, low: int, high: int) -> float:
    """Return the position of an error on the axis; exact ones are left of the first decade."""
    if error <= floor_error:
        return low - 1
    return log10(error) if isfinite(error) else high + 0.3


def _draw_legend(axes: Axes) -> None:
    own = axes.plot([], [], color=ACCENT, linewidth=5, label="error of the operation alone")[0]
    so_far = axes.plot(
        [], [], "D", markerfacecolor="none", markeredgecolor=INK, markeredgewidth=1.6, label="error so far"
    )[0]
    axes.legend(
        handles=[own, so_far],
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=2,
        frameon=False,
        labelcolor=INK,
        fontsize=TEXT_SIZE,
        borderaxespad=0.2,
    )
