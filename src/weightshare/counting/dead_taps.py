"""Exact counts of dead taps: taps of a bank that only ever meet zero padding."""

from collections.abc import Sequence
from itertools import product
from math import prod

from ..sharing import Local, Mapped, Separable, Sharing
from .connection_counts import BUDGET, Axis, count_live_pairs


def count_dead_taps(axes: Sequence[Axis], sharing: Sharing) -> int | None:
    """Count the (bank, tap) pairs that only ever meet zero padding.

    Return None if that would require too long an enumeration.

    A tap of a multi-dimensional kernel meets the input if it does so along every axis. Under a separable
    sharing the number of live taps is therefore a product over the axes.

    >>> from weightshare import Full, Local
    >>> line = Axis(inputs=5, outputs=5, taps=3, stride=1, dilation=1, before=1)
    >>> count_dead_taps([line], Full()), count_dead_taps([line], Local())
    (0, 2)
    """
    taps, size = prod(axis.taps for axis in axes), [axis.outputs for axis in axes]
    if isinstance(sharing, Local):
        return prod(size) * taps - prod(count_live_pairs(axis) for axis in axes)
    if isinstance(sharing, Mapped):
        return _count_dead_taps_of_labels(axes, sharing)
    separable = isinstance(sharing, Separable)
    parts = sharing.parts(size) if separable else [[range(n)] for n in size]
    live = 1
    for axis, parts_of_axis in zip(axes, parts):
        live_on_axis = _count_live_taps(axis, parts_of_axis)
        if live_on_axis is None:
            return None
        live *= live_on_axis
    if separable:
        return prod(map(len, parts)) * taps - live
    return sharing.banks(size) * (taps - live)  # LowRank uses every bank at every position


def _count_live_taps(axis: Axis, parts: Sequence[range]) -> int | None:
    """Count the taps that meet an input for at least one output of a part, summed over the parts."""
    inside = axis.interior
    border = [part for part in parts if not _intersects(part, inside)]
    if len(border) * axis.taps > BUDGET:
        return None
    at_border = sum(_meets_input(axis, part, tap) for part in border for tap in range(axis.taps))
    return (len(parts) - len(border)) * axis.taps + at_border


def _intersects(part: range, inside: range) -> bool:
    """Return whether a range with any step intersects a range with step 1."""
    if not len(inside):
        return False
    first = part.start + max(0, -(-(inside.start - part.start) // part.step)) * part.step
    return first < min(part.stop, inside.stop)


def _meets_input(axis: Axis, part: range, tap: int) -> bool:
    """Return whether a tap meets an input for any output of the part."""
    if axis.padding_mode != "zeros":
        return True
    start = part.start * axis.stride - axis.before + tap * axis.dilation
    step = part.step * axis.stride
    steps = max(0, -(start // step))  # steps to the first index that is not before the input
    return steps < len(part) and start + steps * step < axis.inputs


def _count_dead_taps_of_labels(axes: Sequence[Axis], sharing: Mapped) -> int | None:
    size, taps = [axis.outputs for axis in axes], prod(axis.taps for axis in axes)
    if sum(axis.outputs * axis.taps for axis in axes) > BUDGET:
        return None
    live_taps = [[_list_live_taps(axis, i) for i in range(axis.outputs)] for axis in axes]
    kinds = set(zip(sharing.labels(size), product(*live_taps)))
    complete = {label for label, live in kinds if prod(map(len, live)) == taps}
    partial = [(label, live) for label, live in kinds if label not in complete]
    if len(partial) * taps > BUDGET:
        return None
    live_pairs = {(label, tap) for label, live in partial for tap in product(*live)}
    return (sharing.banks(size) - len(complete)) * taps - len(live_pairs)


def _list_live_taps(axis: Axis, output: int) -> tuple[int, ...]:
    return tuple(tap for tap in range(axis.taps) if _meets_input(axis, range(output, output + 1), tap))
