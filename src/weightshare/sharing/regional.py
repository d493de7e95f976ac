"""Regional sharing: one bank per block of a grid."""

from collections.abc import Sequence
from dataclasses import dataclass

from .._args import Size, check_scalar_or_per_axis, format_size
from ..errors import SharingError
from .base import Separable, check_per_output_axis, join_numbers


@dataclass(frozen=True, repr=False)
class Regional(Separable):
    """Positions in the same block of a grid share a bank.

        a a b b
        a a b b
        c c d d     Regional(2)

    Index i of an axis with n positions is in block `i * grid // n`. `Regional(1)` is `Full`; a grid as large
    as the output is `Local`.

    Args:
        grid: Number of blocks per axis, at least 1; an int or one per axis.

    Raises:
        ArgumentError: If `grid` is below 1.

    Example:
        >>> print(Regional((1, 2)).draw((2, 5)))
        a a a b b
        a a a b b

    Source: Gregor and LeCun, "Emergence of complex-like cells in a temporal product network with local
    receptive fields", 2010; Caffe forks call it a local convolution with regions.
    """

    grid: Size

    def __post_init__(self) -> None:
        object.__setattr__(self, "grid", check_scalar_or_per_axis("Regional", "grid", self.grid, least=1))

    def check(self, out_size: Sequence[int], where: str = "", source: str = "") -> None:
        grid = check_per_output_axis(self, "grid", self.grid, len(out_size), where)
        if any(g > n for g, n in zip(grid, out_size)):
            expected = f"needs an output of at least {format_size(grid)}"
            hint = "use a smaller grid or Local()"
            raise SharingError(f"{where}{self!r}", expected, f"{tuple(out_size)}{source}", hint)

    def parts(self, out_size: Sequence[int]) -> Sequence[Sequence[range]]:
        self.check(out_size)
        grid = check_per_output_axis(self, "grid", self.grid, len(out_size), "")
        # block b contains the i with b <= i * g / n < b + 1, from ceil(b * n / g) to ceil((b + 1) * n / g)
        return [
            [range(-(-b * n // g), -(-(b + 1) * n // g)) for b in range(g)] for n, g in zip(out_size, grid)
        ]

    def __repr__(self) -> str:
        return f"Regional({self.grid})"

    def __str__(self) -> str:
        return f"regional:{join_numbers(self.grid, 'x')}"
