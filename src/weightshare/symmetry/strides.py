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

_PERIODS = 3  # least number of periods over which a stride is measured


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
    f(x.clone())  # overwrite NaN in tensors that the model reuses
    if None not in strides.values():
        return strides
    f = getattr(f, "_orig_mod", f)  # the model inside of torch.compile
    tape, _ = record_forward(f, x)
    last, tape.output = tape.output, tape.input  # the layout of an output that is not followed is a guess
    layout = Run(f, tape, x).layouts.get(last)
    followed = {} if layout is None else get_strides(layout)
    return {axis: stride or followed.get(axis) for axis, stride in strides.items()}


def _measure_stride(f: Callable[[Tensor], Tensor], x: Tensor, output: Tensor, dim: int) -> Fraction | None:
    """Return the stride along one dimension; None if too few positions affect inner outputs only.

    The stride is a / b if the outputs that position i + a affects are those that position i affects, moved by
    b. The smallest a is taken for which this holds for 2 a + 1 adjacent positions and for distant ones.
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
        self.found: dict[int, range | None] = {}

    def find(self, position: int) -> range | None:
        """Return the first to the last output that a position affects; None if one is at the border."""
        if position not in self.found:
            is_inside = 0 <= position < self.x.shape[self.dim] and self.x.is_floating_point()
            self.found[position] = self._measure(position) if is_inside else None
        return self.found[position]

    def find_period(self, start: int, stop: int, a: int) -> Fraction | None:
        """Return the stride a / b for which all positions from `start` to `stop` agree, if there is one."""
        pairs = [(self.find(i), self.find(i + a)) for i in range(start, stop - a)]
        b = next((after.start - before.start for before, after in pairs if before and after), 0)
        if b <= 0 or any(_move(before, b) != after for before, after in pairs):
            return None
        first = next(i for i in range(start, stop) if self.find(i))
        near, n_in, n_out = self.find(first) or range(0), self.x.shape[self.dim], self.shape[self.dim]
        before = min(first // a, (near.start - 1) // b)
        after = min((n_in - 1 - first) // a, (n_out - 1 - near.stop) // b)
        is_constant = before + after >= _PERIODS and all(
            self.find(first + times * a) == _move(near, times * b) for times in (-before, after)
        )
        return Fraction(a, b) if is_constant else None

    def _measure(self, position: int) -> range | None:
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
        if not affected:
            return range(0)
        is_inner = affected[0] > 0 and affected[-1] < self.shape[self.dim] - 1
        return range(affected[0], affected[-1] + 1) if is_inner else None


def _move(outputs: range | None, by: int) -> range | None:
    return range(outputs.start + by, outputs.stop + by) if outputs else outputs
