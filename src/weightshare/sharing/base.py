"""What every sharing promises, and what the one-hot and the separable ones have in common."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import prod

from .._args import is_sequence, per_axis, times
from ..errors import ArgumentError, SharingError

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Sharing(ABC):
    """Which output positions of a layer use which bank of weights.

    A frozen, hashable value that knows no tensor. `out_size` is the number of output positions on every
    spatial axis; positions are counted row-major. `str(sharing)` is its short name, as `parse_sharing` reads
    it (of a `Mapped` shape and digest instead of the file).
    """

    #: Whether every position uses exactly one bank as it is (false only for `LowRank`).
    one_hot: bool

    @abstractmethod
    def check(self, out_size: Sequence[int], where: str = "", source: str = "") -> None:
        """Raise `SharingError` unless this sharing fits the output.

        Args:
            where: Put before the sharing's name in the error, such as "Conv2d: sharing=".
            source: Put behind the output size, such as " from input_size=(6, 6), kernel_size=3".
        """

    @abstractmethod
    def banks(self, out_size: Sequence[int]) -> int:
        """Number of banks K."""

    @abstractmethod
    def labels(self, out_size: Sequence[int]) -> list[int]:
        """The bank, 0 to K - 1, of every position; for `LowRank` the bank that all positions share, 0."""

    @abstractmethod
    def refines(self, other: "Sharing", out_size: Sequence[int]) -> bool:
        """Whether every layer that `other` can express is one that this sharing can express too.

        A partial order: `Local()` refines all, all refine `Full()`, `Regional(4)` refines `Regional(2)` and
        `Regional(3)` does not.
        """

    @abstractmethod
    def draw(self, out_size: Sequence[int]) -> str:
        """The pattern as text: one character a position, the same character where the weights are shared."""


class OneHot(Sharing):
    """A sharing whose positions each use one bank."""

    one_hot = True

    def refines(self, other: Sharing, out_size: Sequence[int]) -> bool:
        self.check(out_size)
        other.check(out_size)
        mine = self.labels(out_size)
        if other.banks(out_size) == 1 or len(set(mine)) == len(mine):
            return True
        if not other.one_hot:
            return False
        return len(set(zip(mine, other.labels(out_size)))) == len(set(mine))

    def draw(self, out_size: Sequence[int]) -> str:
        self.check(out_size)
        return picture(self.labels(out_size), out_size)


class Separable(OneHot):
    """A one-hot sharing that cuts every axis on its own; a bank is one part of each axis.

    Example:
        >>> from weightshare import Tiled
        >>> Tiled(2).parts((5,))
        [[range(0, 5, 2), range(1, 5, 2)]]
    """

    @abstractmethod
    def parts(self, out_size: Sequence[int]) -> list[list[range]]:
        """For every axis, the ranges of output indices that its banks cover, in the order of the banks."""

    def banks(self, out_size: Sequence[int]) -> int:
        return prod(len(parts) for parts in self.parts(out_size))

    def labels(self, out_size: Sequence[int]) -> list[int]:
        labels = [0]
        for parts, size in zip(self.parts(out_size), out_size):
            part_of = {index: number for number, part in enumerate(parts) for index in part}
            labels = [label * len(parts) + part_of[index] for label in labels for index in range(size)]
        return labels


def check_sharing(where: str, argument: str, value: object, default: Sharing) -> Sharing:
    """Return a checked sharing, or `default` for None."""
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


def per_output_axis(sharing: Sharing, name: str, value: object, ndim: int, where: str) -> tuple[int, ...]:
    """A sharing's numbers, one for each axis of the output."""
    if is_sequence(value) and len(value) != ndim:  # type: ignore[arg-type]
        expected = f"needs an output with {len(value)} spatial axes (one per entry of its {name})"  # type: ignore
        raise misfit(where, sharing, expected, str(ndim))
    return per_axis(type(sharing).__name__, name, value, ndim, least=1)


def misfit(where: str, sharing: Sharing, expected: str, got: str, hint: str | None = None) -> SharingError:
    """The error of a sharing that does not fit, in the words common to all sharings."""
    return SharingError(f"{where}{sharing!r}", expected, got, hint)


def picture(labels: Sequence[int], out_size: Sequence[int]) -> str:
    """One character a position: rows of the last axis, a blank line between the planes of a third.

    Beyond 52 banks the letters start again, which the last line then says.
    """
    width = out_size[-1]
    plane = width * (out_size[-2] if len(out_size) > 1 else 1)
    lines = []
    for start in range(0, len(labels), width):
        if start and start % plane == 0:
            lines.append("")
        lines.append(" ".join(LETTERS[label % len(LETTERS)] for label in labels[start : start + width]))
    banks = len(set(labels))
    if banks > len(LETTERS):
        lines.append(f"({banks} banks on {times(out_size)} positions: letters repeat)")
    return "\n".join(lines)


def join(value: int | Sequence[int], separator: str) -> str:
    """A number, or numbers joined, as `parse_sharing` reads them."""
    return str(value) if isinstance(value, int) else separator.join(map(str, value))
