"""Find the stride of a model: the number of input positions from one output position to the next.

The sizes of the maps do not determine it. A convolution of kernel size 7 and stride 2 without padding, for
example, turns 16 positions into 5.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction

import torch
from torch import Tensor

from .trace.layout import get_strides
from .trace.record import record_forward
from .trace.run import Run


def find_strides(
    f: Callable[[Tensor], Tensor], x: Tensor, output: Tensor, axes: Sequence[int]
) -> dict[int, Fraction | None]:
    """Return the stride along some spatial axes; None for an axis whose stride cannot be determined.

    It is measured: single positions of the input are set to NaN, and the outputs that become NaN are the ones
    that depend on them. Where every output depends on every input, or the maps are too small, the stride
    follows from the recorded operations of `f`.

    Args:
        f: Function that does not change its result from one run to the next.
        x: Input [N, C, *spatial].
        output: Output of `f` for `x`, with as many dimensions.
        axes: Spatial axes, of which 0 is the first.
    """
    strides = {axis: _measure_stride(f, x, output, 2 + axis) for axis in axes}
    if None not in strides.values():
        return strides
    tape, _ = record_forward(f, x)
    layout = Run(f, tape, x).layouts[tape.output]
    followed = {} if layout is None else get_strides(layout)
    return {axis: stride or followed.get(axis) for axis, stride in strides.items()}


def _measure_stride(f: Callable[[Tensor], Tensor], x: Tensor, output: Tensor, dim: int) -> Fraction | None:
    """Return the stride along one dimension; None if too few positions affect inner outputs only.

    The stride is a / b if the outputs that position i + a affects are those that position i affects, moved by
    b. The smallest a is taken for which this holds for 2 a + 1 adjacent positions and for a distant one.
    """
    ranges = _Ranges(f, x, output, dim)
    start = stop = x.shape[dim] // 2
    while True:
        if ranges.find(stop) is not None:
            stop += 1
        elif ranges.find(start - 1) is not None:
            start -= 1
        else:
            return None
        a, rest = divmod(stop - start - 1, 2)
        if a and not rest and (stride := ranges.find_period(start, stop, a)) is not None:
            return stride


class _Ranges:
    """The range of outputs along one dimension that each input position affects.

    Args:
        f: Function from `x` to `output`.
        dim: Dimension of the input and of the output.
    """

    def __init__(self, f: Callable[[Tensor], Tensor], x: Tensor, output: Tensor, dim: int):
        self.f, self.x, self.shape, self.dim = f, x, output.shape, dim
        self.found: dict[int, tuple[int, int] | None] = {}

    def find(self, position: int) -> tuple[int, int] | None:
        """Return the first and last output that a position affects; None if they are not all inner ones."""
        if position not in self.found:
            is_inside = 0 <= position < self.x.shape[self.dim] and self.x.is_floating_point()
            self.found[position] = self._measure(position) if is_inside else None
        return self.found[position]

    def find_period(self, start: int, stop: int, a: int) -> Fraction | None:
        """Return the stride a / b for which all positions from `start` to `stop` agree, if there is one."""
        moves = {self._subtract(position + a, position) for position in range(start, stop - a)}
        b = moves.pop() if len(moves) == 1 else None
        if b is None or b <= 0:
            return None
        first, last = self.found[start] or (0, 0)
        times = min((self.x.shape[self.dim] - 1 - start) // a, (self.shape[self.dim] - 2 - last) // b)
        is_constant = self.find(start + times * a) == (first + times * b, last + times * b)
        return Fraction(a, b) if is_constant else None

    def _subtract(self, position: int, other: int) -> int | None:
        """Return the distance between two ranges; None if they differ in length."""
        (first, last), (other_first, other_last) = self.found[position] or (0, 0), self.found[other] or (0, 0)
        return first - other_first if first - other_first == last - other_last else None

    def _measure(self, position: int) -> tuple[int, int] | None:
        changed = self.x.clone()
        changed.select(self.dim, position).fill_(torch.nan)
        try:
            result = self.f(changed)
        except Exception:  # the model may refuse NaN
            return None
        if not isinstance(result, Tensor) or result.shape != self.shape:
            return None
        others = tuple(d for d in range(result.dim()) if d != self.dim)
        affected = result.isnan().any(others).nonzero().flatten().tolist()
        if not affected or affected[0] == 0 or affected[-1] == self.shape[self.dim] - 1:
            return None
        return affected[0], affected[-1]
