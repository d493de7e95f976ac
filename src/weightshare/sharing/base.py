"""The interface of all sharings, and the parts that one-hot and separable sharings have in common."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, overload

from .._args import check_per_axis, format_size, is_sequence
from ..errors import ArgumentError, SharingError
from ..views.letters import LETTERS
from ..views.optional import require_matplotlib

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Largest number of spatial axes.
MAX_AXES = 3
_MAX_PLOTTED_AXIS, _MAX_PLOTTED = 512, 2**18  # largest axis and number of positions of a picture


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

    def plot(self, out_size: Sequence[int], *, ax: "Axes | None" = None) -> "Figure":
        """Draw the positions in colors and letters; positions with the same color and letter share a bank.

        Letters are left out if there are more than 52 banks, or if the cells are too small. The planes of a
        3d output are drawn next to each other. For `LowRank`, the shared bank is followed by up to three
        corrections, whose shading is only an illustration: their weights are learned.

        Args:
            out_size: Number of positions on each spatial axis: a tuple with one to three entries.
            ax: Axes to draw on. By default, a new figure with a transparent background is created.

        Returns:
            The figure that contains the drawing. To save it, call its `savefig`.

        Raises:
            ArgumentError: If `out_size` is not such a tuple, or if it has more than 512 positions on an axis
                or more than 262,144 in total.
            SharingError: If the sharing does not fit the output.
            MissingExtraError: If matplotlib is not installed.

        Example:
            >>> from weightshare import Tiled
            >>> figure = Tiled(2).plot((4, 6))
            >>> figure.axes[0].get_title(), figure.axes[0].get_xlabel()
            ('Tiled(2)', '4 x 6 positions, 4 banks')
        """
        where = f"{type(self).__name__}.plot"
        size = _check_plotted(where, out_size)
        self.check(size)
        with require_matplotlib(where):
            from ..views.positions import draw_positions
        labels, banks = self.labels(size), self.banks(size)
        return draw_positions(where, labels, size, banks, mixed=not self.one_hot, title=repr(self), ax=ax)


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
    def parts(self, out_size: Sequence[int]) -> Sequence[Sequence[range]]:
        """Return, for each axis, the ranges of positions that its banks cover, in the order of the banks."""

    def banks(self, out_size: Sequence[int]) -> int:
        return prod(len(parts) for parts in self.parts(out_size))

    def labels(self, out_size: Sequence[int]) -> list[int]:
        return label_positions(self.parts(out_size), out_size)


class Singles(Sequence[range]):
    """The parts of an axis with one index each. They are not stored, so the axis can be of any length.

    >>> list(Singles(2))
    [range(0, 1), range(1, 2)]
    """

    def __init__(self, length: int):
        self._indices = range(length)

    def __len__(self) -> int:
        return len(self._indices)

    @overload
    def __getitem__(self, index: int) -> range: ...
    @overload
    def __getitem__(self, index: slice) -> list[range]: ...
    def __getitem__(self, index: int | slice) -> range | list[range]:
        if isinstance(index, slice):
            return [range(i, i + 1) for i in self._indices[index]]
        found = self._indices[index]
        return range(found, found + 1)


def label_positions(parts: Sequence[Sequence[Sequence[int]]], out_size: Sequence[int]) -> list[int]:
    """Return the bank of each position in row-major order, for banks that are one part of each axis.

    Args:
        parts: For each axis, the indices that its banks cover, in the order of the banks.
        out_size: Number of positions per axis.
    """
    labels = [0]
    for ranges, size in zip(parts, out_size):
        part_of = {index: number for number, part in enumerate(ranges) for index in part}
        labels = [label * len(ranges) + part_of[index] for label in labels for index in range(size)]
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


def _check_plotted(where: str, out_size: Sequence[int]) -> tuple[int, ...]:
    """Return the size as a tuple; raise `ArgumentError` if it is not a size, or too large for a picture."""
    if not is_sequence(out_size) or not 1 <= len(out_size) <= MAX_AXES:
        expected = f"out_size must be a tuple with 1 to {MAX_AXES} entries (one per spatial axis)"
        raise ArgumentError(where, expected, repr(out_size))
    size = check_per_axis(where, "out_size", out_size, len(out_size), least=1)
    if max(size) > _MAX_PLOTTED_AXIS or prod(size) > _MAX_PLOTTED:
        expected = f"out_size must have at most {_MAX_PLOTTED_AXIS} positions per axis and {_MAX_PLOTTED:,}"
        hint = "plot a smaller output; the sharing divides it in the same way"
        raise ArgumentError(where, f"{expected} in total", format_size(size), hint)
    return size


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
