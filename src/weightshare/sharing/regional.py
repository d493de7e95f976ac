"""Regional sharing: one bank for each block of a grid."""

from collections.abc import Sequence
from dataclasses import dataclass

from .._args import Size, scalar_or_tuple, times
from .base import Separable, join, misfit, per_output_axis


@dataclass(frozen=True, repr=False)
class Regional(Separable):
    """Positions in the same block of a grid share.

        a a b b
        a a b b
        c c d d

    Index i of an axis of n positions is in block `i * grid // n`. `Regional(1)` is `Full`; a grid as large as
    the output is `Local`.

    Args:
        grid: Blocks an axis, at least 1: one number, or one an axis.

    Example:
        >>> print(Regional((1, 2)).draw((2, 5)))
        a a a b b
        a a a b b

    Source: Gregor and LeCun, "Emergence of complex-like cells in a temporal product network with local
    receptive fields", 2010; Caffe forks call it a local convolution with regions.
    """

    grid: Size

    def __post_init__(self):
        object.__setattr__(self, "grid", scalar_or_tuple("Regional", "grid", self.grid, least=1))

    def check(self, out_size: Sequence[int], where: str = "", source: str = "") -> None:
        grid = per_output_axis(self, "grid", self.grid, len(out_size), where)
        if any(g > n for g, n in zip(grid, out_size)):
            expected = f"needs an output of at least {times(grid)}"
            hint = "use a smaller grid or Local()"
            raise misfit(where, self, expected, f"{tuple(out_size)}{source}", hint)

    def parts(self, out_size: Sequence[int]) -> list[list[range]]:
        self.check(out_size)
        grid = per_output_axis(self, "grid", self.grid, len(out_size), "")
        # block b holds the i with b <= i * g / n < b + 1: from ceil(b * n / g) to ceil((b + 1) * n / g)
        return [
            [range(-(-b * n // g), -(-(b + 1) * n // g)) for b in range(g)] for n, g in zip(out_size, grid)
        ]

    def __repr__(self) -> str:
        return f"Regional({self.grid})"

    def __str__(self) -> str:
        return f"regional:{join(self.grid, 'x')}"
