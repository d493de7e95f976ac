"""Counting which positions meet which inputs, without listing the pairs.

Every number here is exact; where only a listing would give it and the listing would be too long, it is None.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

from ..geometry import padded_index
from ..sharing import Local, Mapped, Separable, Sharing

#: Listings longer than this many steps are not started.
BUDGET = 3_000_000


@dataclass(frozen=True)
class Axis:
    """One spatial axis: output i sees input `i * stride - before + t * dilation` for taps `t < taps`."""

    inputs: int
    outputs: int
    taps: int
    stride: int
    dilation: int
    before: int

    @property
    def interior(self) -> range:
        """The outputs whose whole window lies in the input."""
        first = -(-self.before // self.stride)
        last = (self.before + self.inputs - 1 - (self.taps - 1) * self.dilation) // self.stride
        return range(first, max(first, min(last + 1, self.outputs)))

    def seen(self, output: int, padding_mode: str) -> set[int]:
        """The inputs under the window of one output."""
        start = output * self.stride - self.before
        places = (start + t * self.dilation for t in range(self.taps))
        return {i for i in (padded_index(p, self.inputs, padding_mode) for p in places) if i is not None}


def pairs(axis: Axis, padding_mode: str = "zeros") -> int | None:
    """Distinct (output, input) pairs of one axis, padding left out.

    >>> pairs(Axis(inputs=5, outputs=5, taps=3, stride=1, dilation=1, before=1))
    13
    """
    if padding_mode == "zeros":
        return _zero_pairs(axis)
    inside = axis.interior
    border = axis.outputs - len(inside)
    if border * axis.taps > BUDGET:
        return None
    listed = [*range(min(inside.start, axis.outputs)), *range(inside.stop, axis.outputs)]
    return len(inside) * axis.taps + sum(len(axis.seen(i, padding_mode)) for i in listed)


def most_seen(axis: Axis, padding_mode: str = "zeros") -> int | None:
    """Distinct inputs that the output with the fullest window sees."""
    if len(axis.interior):
        return axis.taps
    if axis.outputs * axis.taps > BUDGET:
        return None
    return max(len(axis.seen(i, padding_mode)) for i in range(axis.outputs))


def dead_taps(axes: Sequence[Axis], sharing: Sharing, padding_mode: str = "zeros") -> int | None:
    """(Bank, tap) pairs that only ever meet zero padding, summed over the banks of `sharing`.

    A tap of several axes meets the input where it does so on each of them, so that the live taps of a
    separable sharing are a product over the axes.

    >>> from weightshare import Full, Local
    >>> line = Axis(inputs=5, outputs=5, taps=3, stride=1, dilation=1, before=1)
    >>> dead_taps([line], Full()), dead_taps([line], Local())
    (0, 2)
    """
    taps, size = prod(axis.taps for axis in axes), [axis.outputs for axis in axes]
    if padding_mode != "zeros":
        return 0
    if isinstance(sharing, Local):
        return prod(size) * taps - prod(_zero_pairs(axis) for axis in axes)
    if isinstance(sharing, Mapped):
        return _dead_by_label(axes, sharing)
    whole = [[range(n)] for n in size]
    parts = sharing.parts(size) if isinstance(sharing, Separable) else whole
    live = [_live(axis, cut) for axis, cut in zip(axes, parts)]
    counted = [n for n in live if n is not None]
    if len(counted) < len(live):
        return None
    if isinstance(sharing, Separable):
        return prod(map(len, parts)) * taps - prod(counted)
    return sharing.banks(size) * (taps - prod(counted))  # every bank of LowRank is used at every position


def _live(axis: Axis, parts: Sequence[range]) -> int | None:
    """Taps that meet an input at one output of a part at least, summed over the parts."""
    inside = axis.interior
    border = [part for part in parts if not _meet(part, inside)]
    if len(border) * axis.taps > BUDGET:
        return None
    at_border = sum(_touches(axis, part, tap) for part in border for tap in range(axis.taps))
    return (len(parts) - len(border)) * axis.taps + at_border


def _meet(part: range, inside: range) -> bool:
    """Whether a stepped range has an entry in one without steps."""
    if not len(inside):
        return False
    first = part.start + max(0, -(-(inside.start - part.start) // part.step)) * part.step
    return first < min(part.stop, inside.stop)


def _touches(axis: Axis, part: range, tap: int) -> bool:
    """Whether `tap` meets an input at any output of the part."""
    start = part.start * axis.stride - axis.before + tap * axis.dilation
    step = part.step * axis.stride
    steps = max(0, -(start // step))  # to the first place that is not before the input
    return steps < len(part) and start + steps * step < axis.inputs


def _dead_by_label(axes: Sequence[Axis], sharing: Mapped) -> int | None:
    size, taps = [axis.outputs for axis in axes], prod(axis.taps for axis in axes)
    if sum(axis.outputs * axis.taps for axis in axes) > BUDGET:
        return None
    touching = [
        [
            tuple(t for t in range(axis.taps) if _touches(axis, range(i, i + 1), t))
            for i in range(axis.outputs)
        ]
        for axis in axes
    ]
    kinds = set(zip(sharing.labels(size), product(*touching)))
    complete = {label for label, live in kinds if prod(map(len, live)) == taps}
    partial = [(label, live) for label, live in kinds if label not in complete]
    if len(partial) * taps > BUDGET:
        return None
    met = {(label, tap) for label, live in partial for tap in product(*live)}
    return (sharing.banks(size) - len(complete)) * taps - len(met)


def _zero_pairs(axis: Axis) -> int:
    return _below(axis, axis.before + axis.inputs) - _below(axis, axis.before)


def _below(axis: Axis, limit: int) -> int:
    """(Output, tap) pairs with `output * stride + tap * dilation < limit`, in logarithmic time."""
    if limit <= 0:
        return 0
    reaching = min(axis.taps, -(-limit // axis.dilation))  # taps that are below the limit at output 0
    beyond = limit - (axis.outputs - 1) * axis.stride
    always = min(max(0, -(-beyond // axis.dilation)), reaching)  # taps that are below it at every output
    last = limit - (reaching - 1) * axis.dilation
    some = _floor_sum(reaching - always, axis.dilation, last + axis.stride - 1, axis.stride)
    return always * axis.outputs + some


def _floor_sum(count: int, slope: int, offset: int, divisor: int) -> int:
    """Sum of `(slope * i + offset) // divisor` for i below `count`, by Euclid's algorithm.

    >>> _floor_sum(4, 2, 1, 3) == sum((2 * i + 1) // 3 for i in range(4))
    True
    """
    total = 0
    while count > 0:
        total += count * (count - 1) // 2 * (slope // divisor) + count * (offset // divisor)
        slope, offset = slope % divisor, offset % divisor
        top = slope * count + offset
        count, offset = divmod(top, divisor)
        slope, divisor = divisor, slope
    return total
