"""Sharing along some axes only."""

from collections.abc import Sequence
from dataclasses import dataclass

from .._args import Size, integer, is_sequence
from ..errors import ArgumentError
from .base import Separable, join, misfit

#: Negative axes count from the end, so that they go no further than layers have axes.
MOST_AXES = 3


@dataclass(frozen=True, repr=False)
class SharedAlong(Separable):
    """Positions share along the given spatial axes and along no other.

        a a a a
        b b b b     SharedAlong(1): the same kernel all along a row
        c c c c

    For data whose axes differ: longitude or time shared, latitude or frequency not. All axes is `Full`, none
    is `Local`.

    Args:
        axes: Spatial axes, 0 the first; negatives count from the end. One number or a tuple.

    Example:
        >>> SharedAlong(-1).banks((3, 4))
        3

    Source: Abdel-Hamid et al., "Convolutional neural networks for speech recognition", TASLP 2014, section IV
    (limited weight sharing over frequency bands).
    """

    axes: Size

    def __post_init__(self):
        given = tuple(self.axes) if is_sequence(self.axes) else (self.axes,)  # type: ignore[arg-type]
        axes = tuple(integer("SharedAlong", "axes", axis, least=-MOST_AXES) for axis in given)
        if len(set(axes)) < len(axes):
            raise ArgumentError("SharedAlong", "axes must be distinct", str(axes))
        object.__setattr__(self, "axes", axes if is_sequence(self.axes) else axes[0])

    def check(self, out_size: Sequence[int], where: str = "", source: str = "") -> None:
        self.resolve(len(out_size), where)

    def parts(self, out_size: Sequence[int]) -> list[list[range]]:
        shared = self.resolve(len(out_size))
        return [
            [range(n)] if axis in shared else [range(i, i + 1) for i in range(n)]
            for axis, n in enumerate(out_size)
        ]

    def resolve(self, ndim: int, where: str = "") -> tuple[int, ...]:
        """The shared axes of `ndim`, counted from 0, in order."""
        axes: tuple[int, ...] = self.axes if isinstance(self.axes, tuple) else (self.axes,)  # type: ignore
        resolved = {axis % ndim for axis in axes if -ndim <= axis < ndim}
        if len(resolved) != len(axes):
            expected = f"needs distinct axes between {-ndim} and {ndim - 1} for {ndim} spatial axes"
            raise misfit(where, self, expected, f"{axes}", "count spatial axes from 0")
        return tuple(sorted(resolved))

    def __repr__(self) -> str:
        return f"SharedAlong({self.axes})"

    def __str__(self) -> str:
        return f"along:{join(self.axes, ',')}"
