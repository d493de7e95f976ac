"""Sharing along some of the axes."""

from collections.abc import Sequence
from dataclasses import dataclass

from .._args import Size, check_integer, is_sequence
from ..errors import ArgumentError, SharingError
from .base import MAX_AXES, Separable, Singles, join_numbers


@dataclass(frozen=True, repr=False)
class SharedAlong(Separable):
    """Positions share a bank along the given spatial axes only.

        a a a a
        b b b b     SharedAlong(1): one bank per row
        c c c c

    Use it for data whose axes differ in kind, for example to share along longitude or time, but not along
    latitude or frequency. With all axes it is `Full`, with none (`SharedAlong(())`) it is `Local`.

    Args:
        axes: Spatial axis or tuple of axes. 0 is the first spatial axis; negative numbers count from the end.

    Raises:
        ArgumentError: If an axis is not an integer of at least -3, or is given twice.

    Example:
        >>> SharedAlong(-1).banks((3, 4))
        3

    Source: Abdel-Hamid et al., "Convolutional neural networks for speech recognition", TASLP 2014, section IV
    (limited weight sharing over frequency bands).
    """

    axes: Size

    def __post_init__(self) -> None:
        given = self.axes if is_sequence(self.axes) else (self.axes,)
        axes = tuple(check_integer("SharedAlong", "axes", axis, least=-MAX_AXES) for axis in given)
        if len(set(axes)) < len(axes):
            raise ArgumentError("SharedAlong", "axes must be distinct", str(axes))
        object.__setattr__(self, "axes", axes if is_sequence(self.axes) else axes[0])

    def check(self, out_size: Sequence[int], where: str = "", source: str = "") -> None:
        self.resolve(len(out_size), where)

    def parts(self, out_size: Sequence[int]) -> Sequence[Sequence[range]]:
        shared = self.resolve(len(out_size))
        return [[range(n)] if axis in shared else Singles(n) for axis, n in enumerate(out_size)]

    def resolve(self, ndim: int, where: str = "") -> tuple[int, ...]:
        """Return the shared axes of an output with `ndim` axes, counted from 0 and sorted.

        Raises:
            SharingError: If the output lacks one of the axes, or if two of them are the same axis.
        """
        axes = (self.axes,) if isinstance(self.axes, int) else tuple(self.axes)
        resolved = {axis % ndim for axis in axes if -ndim <= axis < ndim}
        if len(resolved) != len(axes):
            expected = f"needs distinct axes between {-ndim} and {ndim - 1} for {ndim} spatial axes"
            raise SharingError(f"{where}{self!r}", expected, f"{axes}", "count spatial axes from 0")
        return tuple(sorted(resolved))

    def __repr__(self) -> str:
        return f"SharedAlong({self.axes})"

    def __str__(self) -> str:
        return f"along:{join_numbers(self.axes, ',')}"
