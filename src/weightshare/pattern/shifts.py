"""Find where a non-circular shift is exact, and how wide the border around the exact interior is."""

from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import Any

import numpy as np
from scipy.ndimage import distance_transform_cdt

from .._args import Size, check_integer, format_size, is_sequence
from ..errors import ArgumentError, PatternError
from .data import PatternData
from .proof import find_missing

_WHERE = "Pattern.partial_shift"


@dataclass(frozen=True, eq=False)
class PartialShift:
    """A record of the output positions at which a shift is exact.

    Args:
        shift: Shift of the input, one integer per spatial axis.
        out_shift: Shift of the output, one integer per spatial axis.
        exact: Whether all channels of an output position move exactly by the shift [*out_size]; false outside
            the overlap.
        overlap: Range of the positions on each axis that are still on the grid after the shift.
        note: Description of the part of the map that the pattern leaves out; empty if none.
    """

    shift: tuple[int, ...]
    out_shift: tuple[int, ...]
    exact: np.ndarray
    overlap: tuple[range, ...]
    note: str = ""

    @property
    def compared(self) -> int:
        """Number of positions in the overlap."""
        return prod(map(len, self.overlap))

    @property
    def violations(self) -> int:
        """Number of positions in the overlap that are not exact."""
        return self.compared - int(self.exact.sum())

    @property
    def border(self) -> tuple[tuple[int, int], ...] | None:
        """Widths (low, high) to cut from each axis of the overlap so that only exact positions remain.

        The border is None if no position is exact, because equivariance is then lost everywhere.
        """
        return find_border(self.exact[np.ix_(*self.overlap)])

    @property
    def interior(self) -> tuple[int, ...] | None:
        """Size of the overlap without the border; None if no position is exact."""
        if self.border is None:
            return None
        return tuple(len(r) - low - high for r, (low, high) in zip(self.overlap, self.border))

    def __str__(self) -> str:
        head = f"shift {self.shift}: {self.compared - self.violations:,} of {self.compared:,} positions exact"
        if self.interior is None:
            return f"{head}; no interior"
        if not self.violations:
            return head
        widths = ", ".join(f"({low}, {high})" for low, high in self.border or ())
        return f"{head}; interior {format_size(self.interior)}; border widths {widths}"


def compute_partial_shift(pattern: PatternData, shift: Size, out_shift: Size | None) -> PartialShift:
    """Return the result of `Pattern.partial_shift`."""
    in_size, out_size = pattern.in_shape[1:], pattern.out_shape[1:]
    if len(in_size) != len(out_size):
        raise PatternError(
            _WHERE,
            "inputs and outputs must have the same number of spatial axes",
            f"{len(in_size)} and {len(out_size)}",
            "pass in_shape and out_shape when creating the pattern",
        )
    in_steps = check_shift(_WHERE, "shift", shift, len(in_size))
    if out_shift is None:
        out_steps = _divide_by_stride(pattern, in_steps)
    else:
        out_steps = check_shift(_WHERE, "out_shift", out_shift, len(out_size))
    overlap = tuple(range(max(0, -step), min(n, n - step)) for step, n in zip(out_steps, out_size))
    if not all(overlap):
        raise PatternError(
            _WHERE,
            f"the shift must leave some of the {format_size(out_size)} outputs on the grid",
            str(out_steps),
            "use a smaller shift",
        )
    exact = _find_exact(pattern, in_steps, out_steps)
    is_inside = np.zeros(out_size, dtype=bool)
    is_inside[np.ix_(*overlap)] = True
    return PartialShift(in_steps, out_steps, exact & is_inside, overlap, pattern.note)


def _divide_by_stride(pattern: PatternData, shift: tuple[int, ...]) -> tuple[int, ...]:
    ratios = [Fraction(step) / stride for step, stride in zip(shift, pattern.stride)]
    if any(ratio.denominator != 1 for ratio in ratios):
        stride = ", ".join(map(str, pattern.stride))
        raise PatternError(
            _WHERE,
            f"shift must be a multiple of the stride ({stride})",
            str(shift),
            "use a multiple, or pass out_shift",
        )
    return tuple(int(ratio) for ratio in ratios)


def _find_exact(pattern: PatternData, shift: tuple[int, ...], out_shift: tuple[int, ...]) -> np.ndarray:
    """Return whether the shifted connections of each output are those of the output at its new position."""
    output, input_, weight = pattern.edges.T
    to_out, to_in = _shift_elements(pattern.out_shape, out_shift), _shift_elements(pattern.in_shape, shift)
    exact = to_out >= 0
    exact[output[to_in[input_] < 0]] = False
    stays = (to_out[output] >= 0) & (to_in[input_] >= 0)
    images = to_out[output[stays]] * pattern.n_in + to_in[input_[stays]]
    exact[output[stays][find_missing(images, pattern.pairs, weight[stays], weight)]] = False
    from_out = np.full(pattern.n_out, -1)
    from_out[to_out[to_out >= 0]] = np.flatnonzero(to_out >= 0)
    added = from_out[output[find_missing(pattern.pairs, images, weight, weight[stays])]]
    exact[added[added >= 0]] = False
    if pattern.bias is not None:
        exact[pattern.bias[to_out] != pattern.bias] = False
    return np.asarray(exact.reshape(pattern.out_shape).all(0))


def keeps_weights(pattern: PatternData, shift: tuple[int, ...], out_shift: tuple[int, ...]) -> bool:
    """Return whether a shift keeps the weights of connections and biases that stay on the grids."""
    output, input_, weight = pattern.edges.T
    for sign in (1, -1):  # in both directions, because connections may appear as well as disappear
        to_out = _shift_elements(pattern.out_shape, tuple(sign * s for s in out_shift))
        to_in = _shift_elements(pattern.in_shape, tuple(sign * s for s in shift))
        stays = (to_out[output] >= 0) & (to_in[input_] >= 0)
        images = to_out[output[stays]] * pattern.n_in + to_in[input_[stays]]
        if find_missing(images, pattern.pairs, weight[stays], weight).any():
            return False
    moved = _shift_elements(pattern.out_shape, out_shift)
    return pattern.bias is None or bool((pattern.bias[moved] == pattern.bias)[moved >= 0].all())


def _shift_elements(shape: tuple[int, ...], shift: tuple[int, ...]) -> np.ndarray:
    """Return the new index of each element of a shape (channels, *spatial); -1 if it leaves the grid."""
    numbers = np.arange(prod(shape)).reshape(shape)
    result = np.full(shape, -1)
    source = tuple(slice(max(0, -s), max(0, n - max(s, 0))) for s, n in zip(shift, shape[1:]))
    target = tuple(slice(max(0, s), max(0, n + min(s, 0))) for s, n in zip(shift, shape[1:]))
    if all(abs(s) < n for s, n in zip(shift, shape[1:])):
        result[(slice(None), *source)] = numbers[(slice(None), *target)]
    return result.ravel()


def find_border(exact: np.ndarray) -> tuple[tuple[int, int], ...] | None:
    """Return widths (low, high) to cut from each axis so that only true values remain; None if all are false.

    The remaining box is the largest cube of true values, extended along each axis as far as possible.
    """
    if exact.all() or not exact.any():
        return ((0, 0),) * exact.ndim if exact.size and exact.all() else None
    depth: Any = distance_transform_cdt(np.pad(exact, 1), "chessboard")
    depth = depth[(slice(1, -1),) * exact.ndim]
    center = np.unravel_index(depth.argmax(), depth.shape)
    half = int(depth.max()) - 1
    low, high = [int(c) - half for c in center], [int(c) + half + 1 for c in center]
    has_changed = True
    while has_changed:
        has_changed = False
        for axis, n in enumerate(exact.shape):
            box = [slice(a, b) for a, b in zip(low, high)]
            for ends, place, step in ((low, low[axis] - 1, -1), (high, high[axis], 1)):
                box[axis] = slice(place, place + 1)
                if 0 <= place < n and exact[tuple(box)].all():
                    ends[axis] += step
                    has_changed = True
    return tuple((a, n - b) for a, b, n in zip(low, high, exact.shape))


def check_shift(where: str, name: str, value: object, ndim: int) -> tuple[int, ...]:
    """Return a shift as one integer of any sign per axis; a single integer is accepted for one axis only."""
    values = tuple(value) if is_sequence(value) else (value,)
    if len(values) != ndim:
        expected = f"{name} must have one integer for each of {ndim} spatial axes"
        raise ArgumentError(where, expected, repr(value))
    for v in values:
        if isinstance(v, bool) or not hasattr(v, "__index__"):
            raise ArgumentError(where, f"{name} must be an integer", repr(v))
    return tuple(check_integer(where, name, v, least=-(2**31)) for v in values)
