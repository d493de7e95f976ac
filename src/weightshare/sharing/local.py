"""No sharing: a locally connected layer."""

from collections.abc import Sequence
from dataclasses import dataclass

from .base import Separable, Singles


@dataclass(frozen=True, repr=False)
class Local(Separable):
    """One bank for each position, so nothing is shared: a locally connected layer.

        a b c d
        e f g h

    Example:
        >>> Local().banks((55, 55))
        3025
    """

    def check(self, out_size: Sequence[int], where: str = "", source: str = "") -> None:
        pass

    def parts(self, out_size: Sequence[int]) -> Sequence[Sequence[range]]:
        return [Singles(n) for n in out_size]

    def __repr__(self) -> str:
        return "Local()"

    def __str__(self) -> str:
        return "local"
