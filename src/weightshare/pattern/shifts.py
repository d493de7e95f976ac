"""Shifts that are not circular: which outputs see the same after them, and how wide the border is."""

from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import Any

import numpy as np
from scipy.ndimage import distance_transform_cdt

from .._args import Size, integer, is_sequence, times
from ..errors import ArgumentError, PatternError
from .proof import missing


@dataclass(frozen=True, eq=False)
class PartialShift:
    """Where a shift is exact.

    Args:
        shift: Of the input, for every spatial axis.
        out_shift: Of the output.
        exact: [*out_size], whether the output at a position (every channel) goes exactly where the shift
            takes it; false outside of the overlap.
        overlap: For every axis the range of positions that are still on the grid after the shift.
        note: What the pattern leaves out.
    """

    shift: tuple[int, ...]
    out_shift: tuple[int, ...]
    exact: np.ndarray
    overlap: tuple[range, ...]
    note: str = ""

    @property
    def compared(self) -> int:
        """Positions in the overlap."""
        return prod(map(len, self.overlap))

    @property
    def violations(self) -> int:
        """Positions of the overlap that are not exact."""
        return self.compared - int(self.exact.sum())

    @property
    def border(self) -> tuple[tuple[int, int], ...] | None:
        """Widths (low, high) to cut from every axis of the overlap so that all that is left is exact; None
        where nothing is left: what breaks the shift is then no border."""
        return border_of(self.exact[np.ix_(*self.overlap)])

    @property
    def interior(self) -> tuple[int, ...] | None:
        """Size of what is left."""
        if self.border is None:
            return None
        return tuple(len(r) - low - high for r, (low, high) in zip(self.overlap, self.border))

    def __str__(self) -> str:
        head = f"shift {self.shift}: {self.compared - self.violations:,} of {self.compared:,} positions exact"
        if self.interior is None:
            return f"{head}; no interior"
        if not self.violations:
            return head
        widths = "; ".join(f"{low} and {high}" for low, high in self.border or ())
        return f"{head}; the interior of {times(self.interior)}, borders of {widths} positions"


def partly_shifted(pattern: Any, shift: Size, out_shift: Size | None) -> PartialShift:
    """What `Pattern.partial_shift` says."""
    where = "Pattern.partial_shift"
    in_size, out_size = pattern.in_shape[1:], pattern.out_shape[1:]
    if len(in_size) != len(out_size):
        got = f"{len(in_size)} and {len(out_size)}"
        raise PatternError(
            where, "inputs and outputs must have as many spatial axes", got, "give in_shape and out_shape"
        )
    moved = signed(where, "shift", shift, len(in_size))
    if out_shift is None:
        ratios = [Fraction(m) / s for m, s in zip(moved, pattern.stride)]
        if any(r.denominator != 1 for r in ratios):
            stride = ", ".join(map(str, pattern.stride))
            raise PatternError(
                where,
                f"shift must be a multiple of the stride ({stride})",
                f"{moved}, undefined for this stride",
                "use a multiple, or give out_shift",
            )
        out_moved = tuple(int(r) for r in ratios)
    else:
        out_moved = signed(where, "out_shift", out_shift, len(out_size))
    overlap = tuple(range(max(0, -b), min(n, n - b)) for b, n in zip(out_moved, out_size))
    if not all(overlap):
        raise PatternError(
            where,
            f"the shift must leave some of the {times(out_size)} outputs",
            str(out_moved),
            "shift by less",
        )
    exact = _exact(pattern, moved, out_moved)
    inside = np.zeros(out_size, dtype=bool)
    inside[np.ix_(*overlap)] = True
    return PartialShift(moved, out_moved, exact & inside, overlap, pattern.note)


def _exact(pattern: Any, shift: tuple[int, ...], out_shift: tuple[int, ...]) -> np.ndarray:
    """Whether the connections of an output, moved along, are those of the output that stands there."""
    output, input_, weight = pattern.edges.T
    to_out, to_in = _moved(pattern.out_shape, out_shift), _moved(pattern.in_shape, shift)
    exact = to_out >= 0
    exact[output[to_in[input_] < 0]] = False
    stays = (to_out[output] >= 0) & (to_in[input_] >= 0)
    image = to_out[output[stays]] * pattern.n_in + to_in[input_[stays]]
    own = output * pattern.n_in + input_
    exact[output[stays][missing(image, own, weight[stays], weight)]] = False
    back = np.full(pattern.n_out, -1)
    back[to_out[to_out >= 0]] = np.flatnonzero(to_out >= 0)
    lacking = back[output[missing(own, image, weight, weight[stays])]]
    exact[lacking[lacking >= 0]] = False
    if pattern.bias is not None:
        exact &= pattern.bias[to_out] == pattern.bias
    return exact.reshape(pattern.out_shape).all(0)


def _moved(shape: tuple[int, ...], shift: tuple[int, ...]) -> np.ndarray:
    """Where every element goes; -1 off the grid."""
    numbers = np.arange(prod(shape)).reshape(shape)
    result = np.full(shape, -1)
    source = tuple(slice(max(0, -s), max(0, n - max(s, 0))) for s, n in zip(shift, shape[1:]))
    target = tuple(slice(max(0, s), max(0, n + min(s, 0))) for s, n in zip(shift, shape[1:]))
    if all(abs(s) < n for s, n in zip(shift, shape[1:])):
        result[(slice(None), *source)] = numbers[(slice(None), *target)]
    return result.ravel()


def border_of(exact: np.ndarray) -> tuple[tuple[int, int], ...] | None:
    """Widths (low, high) to cut from every axis of a boolean array until all that is left is true.

    What is left is the largest cube of trues, grown as far as it goes.
    """
    if exact.all() or not exact.any():
        return ((0, 0),) * exact.ndim if exact.size and exact.all() else None
    depth: Any = distance_transform_cdt(np.pad(exact, 1), "chessboard")
    depth = depth[(slice(1, -1),) * exact.ndim]
    seed = np.unravel_index(depth.argmax(), depth.shape)
    half = int(depth.max()) - 1
    low, high = [int(s) - half for s in seed], [int(s) + half + 1 for s in seed]
    grown = True
    while grown:
        grown = False
        for axis, n in enumerate(exact.shape):
            box = [slice(a, b) for a, b in zip(low, high)]
            for ends, place, step in ((low, low[axis] - 1, -1), (high, high[axis], 1)):
                box[axis] = slice(place, place + 1)
                if 0 <= place < n and exact[tuple(box)].all():
                    ends[axis] += step
                    grown = True
    return tuple((a, n - b) for a, b, n in zip(low, high, exact.shape))


def signed(where: str, name: str, value: object, ndim: int) -> tuple[int, ...]:
    """`value` as one int of any sign for each axis; a number is for a single axis alone."""
    values = tuple(value) if is_sequence(value) else (value,)  # type: ignore[arg-type]
    if len(values) != ndim:
        got = f"{value!r}"
        raise ArgumentError(
            where, f"{name} must have one integer for each of {ndim} spatial axes", got, "give a tuple"
        )
    for v in values:
        if isinstance(v, bool) or not hasattr(v, "__index__"):
            hint = "give whole positions, negative ones for the other direction"
            raise ArgumentError(where, f"{name} must be an integer", repr(v), hint)
    return tuple(integer(where, name, v, least=-(2**31)) for v in values)
