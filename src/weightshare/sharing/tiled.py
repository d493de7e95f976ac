"""Periodic sharing: tiled convolution."""

from collections.abc import Sequence
from dataclasses import dataclass

from .._args import Size, check_scalar_or_per_axis, format_size
from ..errors import SharingError
from .base import Separable, check_per_output_axis, join_numbers


@dataclass(frozen=True, repr=False)
class Tiled(Separable):
    """Positions whose distance is a multiple of `period` share a bank.

        a b a b a
        c d c d c
        a b a b a     Tiled(2)

    `Tiled(1)` is `Full`; a period as large as the output is `Local`.

    Args:
        period: Distance between positions that share a bank, at least 1; an int or one per axis.

    Raises:
        ArgumentError: If `period` is below 1.

    Example:
        >>> print(Tiled((1, 3)).draw((2, 5)))
        a b c a b
        a b c a b

    Source: Le et al., "Tiled convolutional neural networks", NIPS 2010, section 3.
    """

    period: Size

    def __post_init__(self) -> None:
        object.__setattr__(self, "period", check_scalar_or_per_axis("Tiled", "period", self.period, least=1))

    def check(self, out_size: Sequence[int], where: str = "", source: str = "") -> None:
        period = check_per_output_axis(self, "period", self.period, len(out_size), where)
        if any(t > n for t, n in zip(period, out_size)):
            expected = f"needs an output of at least {format_size(period)} (its period)"
            hint = "use a smaller period or Local()"
            raise SharingError(f"{where}{self!r}", expected, f"{tuple(out_size)}{source}", hint)

    def parts(self, out_size: Sequence[int]) -> Sequence[Sequence[range]]:
        self.check(out_size)
        period = check_per_output_axis(self, "period", self.period, len(out_size), "")
        return [[range(i, n, t) for i in range(t)] for n, t in zip(out_size, period)]

    def __repr__(self) -> str:
        return f"Tiled({self.period})"

    def __str__(self) -> str:
        return f"tiled:{join_numbers(self.period, 'x')}"
