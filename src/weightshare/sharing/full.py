"""Full sharing: a convolution."""

from collections.abc import Sequence
from dataclasses import dataclass

from .base import Separable


@dataclass(frozen=True, repr=False)
class Full(Separable):
    """One bank for all positions: a convolution.

        a a a a
        a a a a

    Example:
        >>> Full().banks((55, 55))
        1
    """

    def check(self, out_size: Sequence[int], where: str = "", source: str = "") -> None:
        pass

    def parts(self, out_size: Sequence[int]) -> list[list[range]]:
        return [[range(n)] for n in out_size]

    def __repr__(self) -> str:
        return "Full()"

    def __str__(self) -> str:
        return "full"
