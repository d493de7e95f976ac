"""The interface of all sharings, and the parts that one-hot and separable sharings have in common."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import prod

from .._args import check_per_axis, format_size, is_sequence
from ..errors import ArgumentError, SharingError

#: Largest number of spatial axes.
MAX_AXES = 3
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Sharing(ABC):
    """A rule for which positions of a layer use which bank.

    It is a frozen, hashable value without tensors. In all methods, `out_size` is the number of positions on
    each spatial axis; positions are counted row-major. `str(sharing)` is a short name that `parse_sharing`
    can read, except that a `Mapped` shows its shape and digest instead of a file.
    """

    #: Whether each position uses exactly one bank, unweighted. False only for `LowRank`.
    one_hot: bool

    @abstractmethod
    def check(self, out_size: Sequence[int], where: str = "", source: str = "") -> None:
        """Raise `SharingError` if this sharing does not fit the output.

        Args:
            where: Text before the sharing's name in the error, such as "Conv2d: sharing=".
            source: Text after the output size, such as " from input_size=(6, 6), kernel_size=3".
        """

    @abstractmethod
    def banks(self, out_size: Sequence[int]) -> int:
        """Return the number of banks, K."""

    @abstractmethod
    def labels(self, out_size: Sequence[int]) -> list[int]:
        """Return the bank of each position, 0 to K - 1; for `LowRank` always 0, the bank that all share."""

    @abstractmethod
    def refines(self, other: "Sharing", out_size: Sequence[int]) -> bool:
        """Return whether this sharing can express every layer that `other` can express.

        This is a partial order. `Local()` refines every sharing, and every sharing refines `Full()`.
        `Regional(4)` refines `Regional(2)`, but `Regional(3)` does not.
        """

    @abstractmethod
    def draw(self, out_size: Sequence[int]) -> str:
        """Return a drawing with one letter per position; positions with the same letter share a bank."""


class OneHot(Sharing):
    """A sharing in which each position uses exactly one bank."""

    one_hot = True

    def refines(self, other: Sharing, out_size: Sequence[int]) -> bool:
        self.check(out_size)
        other.check(out_size)
        labels = self.labels(out_size)
        if other.banks(out_size) == 1 or len(set(labels)) == len(labels):
            return True
        if not other.one_hot:
            return False
        return len(set(zip(labels, other.labels(out_size)))) == len(set(labels))

    def draw(self, out_size: Sequence[int]) -> str:
        self.check(out_size)
        return draw_labels(self.labels(out_size), out_size)


class Separable(OneHot):
    """A one-hot sharing that divides each axis independently; a bank is one part of each axis.

    Example:
        >>> from weightshare import Tiled
        >>> Tiled(2).parts((5,))
        [[range(0, 5, 2), range(1, 5, 2)]]
    """

    @abstractmethod
    def parts(self, out_size: Sequence[int]) -> list[list[range]]:
        """Return, for each axis, the ranges of positions that its banks cover, in the order of the banks."""

    def banks(self, out_size: Sequence[int]) -> int:
        return prod(len(parts) for parts in self.parts(out_size))

    def labels(self, out_size: Sequence[int]) -> list[int]:
        labels = [0]
        for parts, size in zip(self.parts(out_size), out_size):
            part_of = {index: number for number, part in enumerate(parts) for index in part}
            labels = [label * len(parts) + part_of[index] for label in labels for index in range(size)]
        return labels


def check_sharing(where: str, argument: str, value: object, default: Sharing) -> Sharing:
    """Return `value` if it is a sharing that the argument accepts, and `default` if it is None.

    Args:
        where: Name that errors start with, such as "Conv2d".
        argument: Name of the argument; "bias_sharing" accepts only one-hot sharings.

    Raises:
        ArgumentError: If the value is not a sharing, or not one-hot although it has to be.
    """
    if value is None:
        return default
    if not isinstance(value, Sharing):
        raise ArgumentError(
            where,
            f"{argument} must be a sharing such as Tiled(2)",
            repr(value),
            "convert text with parse_sharing()",
        )
    if argument == "bias_sharing" and not value.one_hot:
        raise ArgumentError(
            where,
            "bias_sharing must assign one bias to each position",
            repr(value),
            "use any sharing except LowRank",
        )
    return value


def check_per_output_axis(
    sharing: Sharing, name: str, value: int | Sequence[int], ndim: int, where: str
) -> tuple[int, ...]:
    """Return an argument of a sharing as one int per axis of the output.

    Raises:
        SharingError: If a tuple does not have one entry per axis.
    """
    if is_sequence(value) and len(value) != ndim:
        expected = f"needs an output with {len(value)} spatial axes (one per entry of its {name})"
        raise SharingError(f"{where}{sharing!r}", expected, str(ndim))
    return check_per_axis(type(sharing).__name__, name, value, ndim, least=1)


def draw_labels(labels: Sequence[int], out_size: Sequence[int]) -> str:
    """Return one letter per label, in rows of the last axis; blank lines separate the planes of a 3d output.

    With more than 52 banks the letters repeat, and a final line states this.
    """
    width = out_size[-1]
    plane = width * (out_size[-2] if len(out_size) > 1 else 1)
    lines: list[str] = []
    for start in range(0, len(labels), width):
        if start and start % plane == 0:
            lines.append("")
        lines.append(" ".join(LETTERS[label % len(LETTERS)] for label in labels[start : start + width]))
    banks = len(set(labels))
    if banks > len(LETTERS):
        lines.append(f"({banks} banks on {format_size(out_size)} positions: letters repeat)")
    return "\n".join(lines)


def join_numbers(value: int | Sequence[int], separator: str) -> str:
    """Return a number, or several joined by the separator, in the notation of `parse_sharing`."""
    return str(value) if isinstance(value, int) else separator.join(map(str, value))
