"""Exact counts of the (output, input) pairs along one spatial axis, mostly without enumerating them.

A count is None if it would require enumerating more than `BUDGET` pairs.
"""

from dataclasses import dataclass

from ..geometry import find_padded_index

#: Largest number of steps of an enumeration.
BUDGET = 3_000_000


@dataclass(frozen=True)
class Axis:
    """One spatial axis: output i sees input `i * stride - before + t * dilation` for each tap `t < taps`.

    For a transposed layer the roles are swapped: `outputs` are its input positions, and `inputs` its outputs.

    Args:
        before: Padding before the first input.
    """

    inputs: int
    outputs: int
    taps: int
    stride: int
    dilation: int
    before: int
    padding_mode: str = "zeros"

    @property
    def interior(self) -> range:
        """Range of the outputs whose whole window lies inside the input."""
        first = -(-self.before // self.stride)
        last = (self.before + self.inputs - 1 - (self.taps - 1) * self.dilation) // self.stride
        return range(first, max(first, min(last + 1, self.outputs)))

    def list_inputs(self, output: int) -> set[int]:
        """Return the inputs in the window of one output."""
        start = output * self.stride - self.before
        indices = (
            find_padded_index(start + t * self.dilation, self.inputs, self.padding_mode)
            for t in range(self.taps)
        )
        return {index for index in indices if index is not None}


def count_pairs(axis: Axis) -> int | None:
    """Count the distinct (output, input) pairs, leaving out padding.

    >>> count_pairs(Axis(inputs=5, outputs=5, taps=3, stride=1, dilation=1, before=1))
    13
    """
    if axis.padding_mode == "zeros":
        return count_live_pairs(axis)
    inside = axis.interior
    if (axis.outputs - len(inside)) * axis.taps > BUDGET:
        return None
    border = [*range(min(inside.start, axis.outputs)), *range(inside.stop, axis.outputs)]
    return len(inside) * axis.taps + sum(len(axis.list_inputs(i)) for i in border)


def count_live_pairs(axis: Axis) -> int:
    """Count the (output, tap) pairs of an axis that do not meet zero padding, in logarithmic time."""
    if axis.padding_mode != "zeros":
        return axis.outputs * axis.taps
    return _count_pairs_below(axis, axis.before + axis.inputs) - _count_pairs_below(axis, axis.before)


def count_largest_window(axis: Axis) -> int | None:
    """Return the largest number of distinct inputs that one output sees."""
    if len(axis.interior):
        return axis.taps
    if axis.outputs * axis.taps > BUDGET:
        return None
    return max(len(axis.list_inputs(i)) for i in range(axis.outputs))


def _count_pairs_below(axis: Axis, limit: int) -> int:
    """Count the (output, tap) pairs with `output * stride + tap * dilation < limit`."""
    if limit <= 0:
        return 0
    reaching = min(axis.taps, -(-limit // axis.dilation))  # taps that are below the limit for output 0
    beyond = limit - (axis.outputs - 1) * axis.stride
    always = min(max(0, -(-beyond // axis.dilation)), reaching)  # taps that are below it for every output
    last = limit - (reaching - 1) * axis.dilation
    some = _floor_sum(reaching - always, axis.dilation, last + axis.stride - 1, axis.stride)
    return always * axis.outputs + some


def _floor_sum(count: int, slope: int, offset: int, divisor: int) -> int:
    """Sum `(slope * i + offset) // divisor` over i below `count`, by Euclid's algorithm.

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
