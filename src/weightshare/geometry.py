"""Windows, output sizes and receptive fields, in pure Python."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from ._args import Size, check_integer, check_per_axis, format_size, is_sequence
from .errors import ArgumentError, ShapeError

__all__ = ["ReceptiveField", "Window", "receptive_fields"]

PADDING_MODES = ("circular", "reflect", "replicate", "zeros")

#: An int for all axes, one int per axis, one pair (before, after) per axis, or "same" or "valid".
Padding = Size | Sequence[Sequence[int]] | str
#: A padding mode for all axes, or one per axis.
PaddingModes = str | Sequence[str]


@dataclass(frozen=True, init=False)
class Window:
    """The window of a layer: where each position looks, on every spatial axis.

    On each axis, output index i sees the inputs `i * stride - padding + t * dilation` for the taps
    t = 0, ..., `kernel_size - 1`.

    Args:
        kernel_size: Number of taps per axis, at least 1.
        stride: Distance between the windows of neighboring positions, at least 1.
        padding: Number of elements added at both ends of each axis: an int, one int per axis, or one pair
            `(before, after)` per axis. "valid" adds none; "same" adds as many as keep the size (only with
            stride 1).
        dilation: Distance between neighboring taps, at least 1.
        ndim: Number of spatial axes, if all other arguments are scalars (default 1).
        where: Name that errors start with.

    Raises:
        ArgumentError: If a value is below its minimum, or a tuple has the wrong length.

    Example:
        >>> window = Window(11, stride=4, ndim=2)
        >>> window.output_size((227, 227))
        (55, 55)
        >>> Window((3, 3), padding="same", dilation=2).padding
        ((2, 2), (2, 2))
    """

    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]

    def __init__(
        self,
        kernel_size: Size,
        stride: Size = 1,
        padding: Padding = 0,
        dilation: Size = 1,
        *,
        ndim: int | None = None,
        where: str = "Window",
    ):
        if ndim is None:
            given = (kernel_size, stride, padding, dilation)
            ndim = next((len(value) for value in given if is_sequence(value)), 1)
        check_integer(where, "ndim", ndim, least=0)
        kernel = check_per_axis(where, "kernel_size", kernel_size, ndim, least=1)
        steps = check_per_axis(where, "stride", stride, ndim, least=1)
        dilations = check_per_axis(where, "dilation", dilation, ndim, least=1)
        object.__setattr__(self, "kernel_size", kernel)
        object.__setattr__(self, "stride", steps)
        object.__setattr__(self, "dilation", dilations)
        object.__setattr__(self, "padding", _check_padding(where, padding, kernel, steps, dilations))

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return len(self.kernel_size)

    @property
    def taps(self) -> int:
        """Number of taps of the kernel, for one input channel."""
        return prod(self.kernel_size)

    @property
    def extent(self) -> tuple[int, ...]:
        """Number of inputs from the first tap to the last: the receptive field of this layer alone."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel_size, self.dilation))

    def padded_size(self, input_size: Sequence[int]) -> tuple[int, ...]:
        """Return the input size with padding."""
        return tuple(n + sum(pair) for n, pair in zip(input_size, self.padding))

    def output_size(
        self, input_size: Size, where: str = "Window", padding_mode: PaddingModes = "zeros"
    ) -> tuple[int, ...]:
        """Return the number of output positions on each axis.

        Args:
            input_size: Size of the input per axis.
            where: Name that errors start with.
            padding_mode: A padding mode of torch, or one per axis.

        Raises:
            ShapeError: If the padded input is smaller than the window, or if the input is too small for this
                much padding in this padding mode.
        """
        size = check_per_axis(where, "input_size", input_size, self.ndim, least=1)
        modes = split_padding_mode(padding_mode, self.ndim)
        for axis, (n, pair, mode) in enumerate(zip(size, self.padding, modes)):
            more = {"circular": 0, "reflect": 1}.get(mode)
            if more is not None and any(pair) and n < max(pair) + more:
                raise ShapeError(
                    where,
                    f"padding_mode={mode!r} can pad an axis of length {n} by at most {n - more}",
                    f"{pair} on axis {axis} from padding={self.padding}",
                    "use less padding or another padding_mode",
                )
        padded = self.padded_size(size)
        if any(n < e for n, e in zip(padded, self.extent)):
            raise ShapeError(
                where,
                f"the padded input must be at least {self.extent}, the extent of the window",
                f"{padded} from input_size={size}",
                "use a larger input, a smaller kernel or more padding",
            )
        return tuple((n - e) // s + 1 for n, e, s in zip(padded, self.extent, self.stride))

    def span(self, positions: Sequence[int]) -> tuple[int, ...]:
        """Return the number of inputs that the given number of positions covers on each axis."""
        return tuple((n - 1) * s + e for n, s, e in zip(positions, self.stride, self.extent))

    def transposed_size(
        self, input_size: Sequence[int], output_padding: Sequence[int] = (), where: str = "Window"
    ) -> tuple[int, ...]:
        """Return the spatial size of a transposed layer's output.

        Raises:
            ShapeError: If the output would be empty.
        """
        extra = output_padding or (0,) * self.ndim
        size = tuple(n - sum(p) + x for n, p, x in zip(self.span(input_size), self.padding, extra))
        if any(n < 1 for n in size):
            raise ShapeError(
                where,
                "the output must have at least one position on each axis",
                f"{format_size(size)} from input_size={tuple(input_size)}, padding={self.padding}",
                "use a larger input or less padding",
            )
        return size


def check_groups(where: str, groups: object, in_channels: int, out_channels: int) -> int:
    """Return `groups` as an int.

    Raises:
        ArgumentError: If `groups` does not divide both numbers of channels.
    """
    number = check_integer(where, "groups", groups, least=1)
    channels = {"in_channels": in_channels, "out_channels": out_channels}
    wrong = [f"{name}={n}" for name, n in channels.items() if n % number]
    if wrong:
        others = "".join(f" ({name}={n})" for name, n in channels.items() if not n % number)
        got = f"groups={number}, which does not divide {' or '.join(wrong)}{others}"
        raise ArgumentError(where, "groups must divide in_channels and out_channels", got)
    return number


def check_transposed(
    where: str, padding: object, padding_mode: object, output_padding: object, window: Window
) -> tuple[int, ...]:
    """Return the output padding of a transposed layer as one int per axis.

    Raises:
        ArgumentError: If padding is given by name, the padding mode is not "zeros", or the output padding is
            smaller than neither stride nor dilation. Transposed convolutions of torch have the same limits.
    """
    if padding_mode != "zeros":
        raise ArgumentError(where, "padding_mode must be 'zeros' for a transposed layer", repr(padding_mode))
    if isinstance(padding, str):
        raise ArgumentError(where, "padding must be integers for a transposed layer", repr(padding))
    extra = check_per_axis(where, "output_padding", output_padding, window.ndim, least=0)
    if any(n >= max(s, d) for n, s, d in zip(extra, window.stride, window.dilation)):
        raise ArgumentError(
            where,
            "output_padding must be smaller than stride or dilation",
            f"{extra} with stride={window.stride}, dilation={window.dilation}",
        )
    return extra


def check_even_padding(where: str, pairs: Sequence[tuple[int, int]]) -> None:
    """Raise `ArgumentError` for a transposed layer whose padding differs between the ends of an axis."""
    if any(before != after for before, after in pairs):
        raise ArgumentError(
            where,
            "padding must be equal at both ends of each axis for a transposed layer",
            repr(tuple(pairs)),
            "use less padding and crop the output",
        )


def find_padded_index(index: int, size: int, padding_mode: str) -> int | None:
    """Return the index of the input that padding puts at `index` of an axis; None for zero padding.

    >>> [find_padded_index(i, 3, "reflect") for i in (-2, -1, 0, 3)]
    [2, 1, 0, 1]
    """
    if 0 <= index < size:
        return index
    if padding_mode == "zeros":
        return None
    if padding_mode == "circular":
        return index % size
    if padding_mode == "replicate":
        return min(max(index, 0), size - 1)
    return -index if index < 0 else 2 * (size - 1) - index


@dataclass(frozen=True)
class ReceptiveField:
    """The part of a stack's input that one of its output positions depends on, per axis.

    Args:
        size: Number of inputs, including padding.
        stride: Distance between the receptive fields of neighboring output positions.
        start: Index of the first input in the receptive field of output position 0; negative in the padding.
    """

    size: tuple[int, ...]
    stride: tuple[int, ...]
    start: tuple[int, ...]


def receptive_fields(windows: Iterable[object]) -> list[ReceptiveField]:
    """Return the receptive field after each layer of a stack.

    Args:
        windows: Windows from the input to the output, or layers with an attribute `window`.

    Raises:
        ArgumentError: If an item has no window, or if the windows have different numbers of axes.

    Example:
        >>> conv, pool = Window(3, padding=1), Window(2, stride=2)
        >>> [field.size for field in receptive_fields([conv, pool, conv])]
        [(3,), (4,), (8,)]

    Source: Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural Networks",
    Distill 2019, equations 1 to 4.
    """
    return list(_iter_fields(windows))


def _iter_fields(windows: Iterable[object]) -> Iterator[ReceptiveField]:
    field = None
    for place, item in enumerate(windows):
        window = getattr(item, "window", item)
        if not isinstance(window, Window):
            raise ArgumentError(
                f"receptive_fields, item {place}",
                "every item must be a Window or have an attribute window",
                type(item).__name__,
                "pass Window(kernel_size, stride, padding, dilation) instead",
            )
        if field is None:
            ones = (1,) * window.ndim
            field = ReceptiveField(size=ones, stride=ones, start=(0,) * window.ndim)
        if window.ndim != len(field.size):
            raise ArgumentError(
                f"receptive_fields, item {place}",
                f"every window must have as many axes as the first ({len(field.size)})",
                str(window.ndim),
                "pass ndim= or a tuple to each Window",
            )
        field = ReceptiveField(
            size=tuple(r + (e - 1) * j for r, e, j in zip(field.size, window.extent, field.stride)),
            start=tuple(a - lo * j for a, (lo, _), j in zip(field.start, window.padding, field.stride)),
            stride=tuple(j * s for j, s in zip(field.stride, window.stride)),
        )
        yield field


def _check_padding(
    where: str, padding: object, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> tuple[tuple[int, int], ...]:
    """Return the padding as one pair `(before, after)` per axis."""
    ndim = len(kernel)
    if isinstance(padding, str):
        if padding == "valid":
            return ((0, 0),) * ndim
        if padding != "same":
            raise ArgumentError(where, "padding must be integers, 'same' or 'valid'", repr(padding))
        if any(s != 1 for s in stride):
            raise ArgumentError(
                where, "padding='same' needs stride 1", f"stride={stride}", "pass the padding as integers"
            )
        totals = [d * (k - 1) for k, d in zip(kernel, dilation)]
        return tuple((total // 2, total - total // 2) for total in totals)
    if is_sequence(padding) and len(padding) == ndim and all(is_sequence(pair) for pair in padding):
        return tuple(_check_pair(where, f"padding[{axis}]", pair) for axis, pair in enumerate(padding))
    return tuple((p, p) for p in check_per_axis(where, "padding", padding, ndim, least=0))


def simplify_padding(padding: object, pairs: Sequence[tuple[int, int]]) -> Any:
    """Return padding in torch's form (text, or one int per axis) if possible, else as pairs.

    Args:
        padding: The padding as given.
        pairs: The same padding as one pair `(before, after)` per axis.

    >>> simplify_padding(1, ((1, 1), (1, 1))), simplify_padding(((0, 0), (1, 2)), ((0, 0), (1, 2)))
    ((1, 1), ((0, 0), (1, 2)))
    """
    if isinstance(padding, str):
        return padding
    is_even = all(before == after for before, after in pairs)
    return tuple(before for before, _ in pairs) if is_even else tuple(pairs)


def has_pairs(padding: Padding) -> bool:
    """Return whether simplified padding is given as pairs, which torch's convolutions do not accept."""
    return not isinstance(padding, str | int) and is_sequence(padding[0])


def _check_pair(where: str, name: str, pair: Sequence[object]) -> tuple[int, int]:
    if len(pair) != 2:
        raise ArgumentError(where, f"{name} must be an integer or a pair (before, after)", str(tuple(pair)))
    before, after = pair
    return check_integer(where, name, before, least=0), check_integer(where, name, after, least=0)


def wrong_shape(
    where: str, shape: Sequence[int], channels: int, size: Sequence[int] | None, sharing: object, ndim: int
) -> ShapeError:
    """Return the error for an input with the wrong rank, number of channels or size.

    Args:
        where: Name of the layer.
        shape: Shape of the input.
        channels: Expected number of channels.
        size: Expected spatial size; None if the layer takes any size.
        sharing: Sharing of the layer.
        ndim: Number of spatial axes.
    """
    spatial = "*size" if size is None else ", ".join(map(str, size))
    axes = "" if size is not None else f" with {ndim} spatial {'axis' if ndim == 1 else 'axes'}"
    expected = f"input must be [N, {channels}, {spatial}] or [{channels}, {spatial}]{axes}"
    if len(shape) not in (ndim + 1, ndim + 2):
        return ShapeError(where, expected, f"{list(shape)}, which has {len(shape)} axes")
    if shape[-ndim - 1] != channels:
        got = f"{list(shape)}, which has {shape[-ndim - 1]} channels on axis {len(shape) - ndim - 1}"
        return ShapeError(where, expected, got, f"in_channels is {channels}")
    wrong = [
        f"{n} on axis {axis} instead of {wanted}"
        for axis, (n, wanted) in enumerate(zip(shape[-ndim:], size or ()), len(shape) - ndim)
        if n != wanted
    ]
    return ShapeError(
        where,
        expected,
        f"{list(shape)}, which has size {' and '.join(wrong)}",
        "resize the input, or build the layer with another input_size (its weights for "
        f"sharing={sharing!r} fit this size only)",
    )


def check_padding_mode(where: str, padding_mode: object, ndim: int) -> str | tuple[str, ...]:
    """Return the padding mode: one name if it is the same on each axis, else one name per axis.

    Raises:
        ArgumentError: If it is neither one of `PADDING_MODES` nor a sequence of one of them per axis.

    >>> check_padding_mode("Conv2d", ["circular", "circular"], 2)
    'circular'
    """
    names = ", ".join(repr(mode) for mode in PADDING_MODES)
    modes = tuple(padding_mode) if is_sequence(padding_mode) else (padding_mode,)
    if is_sequence(padding_mode) and len(modes) != ndim:
        axes = f"{ndim} spatial {'axis' if ndim == 1 else 'axes'}"
        raise ArgumentError(where, f"padding_mode must be one name, or one per axis for {axes}", str(modes))
    for axis, mode in enumerate(modes):
        if mode not in PADDING_MODES:
            argument = f"padding_mode[{axis}]" if is_sequence(padding_mode) else "padding_mode"
            raise ArgumentError(where, f"{argument} must be one of {names}", repr(mode))
    return str(modes[0]) if len(set(modes)) == 1 else tuple(map(str, modes))


def split_padding_mode(padding_mode: PaddingModes, ndim: int) -> tuple[str, ...]:
    """Return one padding mode per axis.

    >>> split_padding_mode("zeros", 2), split_padding_mode(("zeros", "circular"), 2)
    (('zeros', 'zeros'), ('zeros', 'circular'))
    """
    return (padding_mode,) * ndim if isinstance(padding_mode, str) else tuple(padding_mode)
