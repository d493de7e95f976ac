"""Windows, output sizes and receptive fields, in pure Python."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import prod

from ._args import Size, check_integer, check_per_axis, format_size, is_sequence
from .errors import ArgumentError, ShapeError

__all__ = ["ReceptiveField", "Window", "receptive_fields"]

PADDING_MODES = ("circular", "reflect", "replicate", "zeros")


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
        padding: Size | Sequence[Sequence[int]] | str = 0,
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
        self, input_size: Size, where: str = "Window", padding_mode: str = "zeros"
    ) -> tuple[int, ...]:
        """Return the number of output positions on each axis.

        Raises:
            ShapeError: If the padded input is smaller than the window, or if the input is too small for this
                much padding in this padding mode.
        """
        size = check_per_axis(where, "input_size", input_size, self.ndim, least=1)
        more = {"circular": 0, "reflect": 1}.get(padding_mode)
        for n, pair in zip(size, self.padding):
            if more is not None and any(pair) and n < max(pair) + more:
                raise ShapeError(
                    where,
                    f"padding_mode={padding_mode!r} can pad an axis of length {n} by at most {n - more}",
                    f"padding={self.padding}",
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
    if in_channels % number or out_channels % number:
        raise ArgumentError(
            where,
            "groups must divide in_channels and out_channels",
            f"groups={number}, in_channels={in_channels}, out_channels={out_channels}",
        )
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


def _check_pair(where: str, name: str, pair: Sequence[object]) -> tuple[int, int]:
    if len(pair) != 2:
        raise ArgumentError(where, f"{name} must be an integer or a pair (before, after)", str(tuple(pair)))
    before, after = pair
    return check_integer(where, name, before, least=0), check_integer(where, name, after, least=0)


def check_padding_mode(where: str, padding_mode: object) -> str:
    """Return `padding_mode`.

    Raises:
        ArgumentError: If it is not one of `PADDING_MODES`.
    """
    if padding_mode not in PADDING_MODES:
        names = ", ".join(repr(mode) for mode in PADDING_MODES)
        raise ArgumentError(where, f"padding_mode must be one of {names}", repr(padding_mode))
    return str(padding_mode)
