"""A layer as a value that holds everything its counts depend on."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from .._args import check_integer
from ..errors import ShapeError, SharingError
from ..geometry import Window, check_groups, check_padding_mode, check_transposed, split_padding_mode
from ..sharing import Full, Local, LowRank, Sharing
from .connection_counts import Axis
from .sizes import EXAMPLES, format_compact_size, split_size

FULL = Full()

#: Names and shapes of parameters.
Held = tuple[tuple[str, tuple[int, ...]], ...]


def choose_bias_sharing(sharing: Sharing, transposed: bool) -> Sharing:
    """Return the default bias sharing: `Full` for low-rank and transposed layers, else `sharing` itself."""
    return Full() if transposed or not sharing.one_hot else sharing


@dataclass(frozen=True)
class LayerSpec:
    """A convolution, transposed convolution, locally connected or linear layer.

    A linear layer is the case without spatial axes: one position that sees every input. `str` returns the
    layer in torch's notation.

    Args:
        name: Class name in `torch.nn` or `weightshare.nn`.
        window: Where each output position looks; for a transposed layer, where each *input* position adds to
            the output.
        output_padding: One number per axis, as in torch; empty for layers that are not transposed.
        bias_sharing: Sharing of the bias; by default that of `choose_bias_sharing`.
        input_size: Spatial size of the input, if the layer fixes it.
        notes: Notes on how the layer was interpreted.
        held: Names and shapes of the parameters, if they may differ from those of a plain layer, for example
            because of `weight_norm`.

    Raises:
        ArgumentError: If a number of channels is below 1 or not divisible by `groups`, or if the padding mode
            is unknown.
        SharingError: If the bias or a linear layer has a low-rank sharing.

    Example:
        >>> spec = LayerSpec("Conv2d", 3, 96, Window((11, 11), stride=4))
        >>> spec.output_size((227, 227))
        (55, 55)
        >>> print(spec)
        Conv2d(3, 96, 11, stride=4)
    """

    name: str
    in_channels: int
    out_channels: int
    window: Window
    transposed: bool = False
    output_padding: tuple[int, ...] = ()
    groups: int = 1
    bias: bool = True
    padding_mode: str | tuple[str, ...] = "zeros"
    sharing: Sharing = FULL
    bias_sharing: Sharing | None = None
    input_size: tuple[int, ...] | None = None
    notes: tuple[str, ...] = ()
    held: Held | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        check_integer(self.name, f"in_{self._noun}", self.in_channels, least=1)
        check_integer(self.name, f"out_{self._noun}", self.out_channels, least=1)
        check_groups(self.name, self.groups, self.in_channels, self.out_channels)
        mode = check_padding_mode(self.name, self.padding_mode, self.ndim)
        object.__setattr__(self, "padding_mode", mode)
        if self.transposed:
            check_transposed(
                self.name, self.window.padding, self.padding_mode, self.output_padding, self.window
            )
        if self.bias_sharing is not None and not self.bias_sharing.one_hot:
            raise SharingError(
                f"{self.name}: bias_sharing={self.bias_sharing!r}",
                "must be one-hot (each position uses one bias)",
                "a low-rank sharing",
                "use Full(), Local() or another one-hot sharing",
            )
        if not self.ndim and isinstance(self.sharing, LowRank):
            raise SharingError(
                f"{self.name}: sharing={self.sharing!r}",
                "needs a layer with spatial positions",
                "a linear layer",
                "leave out sharing",
            )

    @property
    def ndim(self) -> int:
        """Number of spatial axes, 0 for a linear layer."""
        return self.window.ndim

    @property
    def position_side(self) -> tuple[str, int]:
        """Label and number of channels on the position side: the output, or the input if transposed."""
        return self._input_side if self.transposed else self._output_side

    @property
    def window_side(self) -> tuple[str, int]:
        """Label and number of channels on the window side, within one group."""
        label, channels = self._output_side if self.transposed else self._input_side
        if self.groups > 1:
            label += f" per group ({channels:,} / {self.groups:,})"
        return label, channels // self.groups

    @property
    def _noun(self) -> str:
        return "channels" if self.ndim else "features"

    @property
    def _input_side(self) -> tuple[str, int]:
        return f"input {self._noun}", self.in_channels

    @property
    def _output_side(self) -> tuple[str, int]:
        return f"output {self._noun}", self.out_channels

    @property
    def weights_per_neuron(self) -> int:
        """Number of weights into an output neuron (if transposed, out of an input neuron) off the border."""
        return self.window.taps * self.window_side[1]

    def choose_bias_sharing(self, sharing: Sharing) -> Sharing:
        """Return the sharing of the bias if the weights have the given sharing."""
        if self.bias_sharing is not None:
            return self.bias_sharing
        return choose_bias_sharing(sharing, self.transposed)

    def output_size(self, input_size: Sequence[int]) -> tuple[int, ...]:
        """Return the spatial size of the output."""
        if not self.ndim:
            return ()
        if not self.transposed:
            return self.window.output_size(tuple(input_size), self.name, self.padding_mode)
        return self.window.transposed_size(input_size, self.output_padding, self.name)

    def position_size(self, input_size: Sequence[int]) -> tuple[int, ...]:
        """Return the spatial size of the position side."""
        return tuple(input_size) if self.transposed else self.output_size(input_size)

    def axes(self, input_size: Sequence[int]) -> list[Axis]:
        """Return how positions and their windows are arranged along each spatial axis."""
        window, output_size = self.window, self.output_size(input_size)
        positions, reached = tuple(output_size), tuple(input_size)
        if self.transposed:
            positions, reached = reached, positions
        before, modes = (pair[0] for pair in window.padding), split_padding_mode(self.padding_mode, self.ndim)
        steps = (window.kernel_size, window.stride, window.dilation)
        return [Axis(*values) for values in zip(reached, positions, *steps, before, modes)]

    def spatial_size(self, input_size: object) -> tuple[int, ...]:
        """Return `input_size` without its channels, which are checked if given."""
        channels, size = split_size(self.name, self.ndim, input_size)
        if channels is not None and channels != self.in_channels:
            raise ShapeError(
                self.name,
                f"the input must have in_{self._noun}={self.in_channels}",
                f"{channels} from input {format_compact_size((channels, *size))}",
                f"put the channels first, e.g. {EXAMPLES[self.ndim]}, or leave them out"
                if self.ndim
                else None,
            )
        return size

    def __str__(self) -> str:
        if not self.ndim:
            bias = "" if self.bias else ", bias=False"
            return f"Linear({self.in_channels}, {self.out_channels}{bias})"
        window, name = self.window, self.name
        default_sharing: Sharing = Full()
        if name.startswith("LocallyConnected"):
            if isinstance(self.sharing, Local):
                default_sharing = Local()
            else:
                name = f"Conv{self.ndim}d"
        padding = _format_padding(window)
        words = {
            "stride": _format_axes(window.stride) if set(window.stride) != {1} else None,
            "padding": padding if padding != "0" else None,
            "output_padding": _format_axes(self.output_padding) if any(self.output_padding) else None,
            "dilation": _format_axes(window.dilation) if set(window.dilation) != {1} else None,
            "groups": str(self.groups) if self.groups > 1 else None,
            "bias": None if self.bias else "False",
            "padding_mode": repr(self.padding_mode) if self.padding_mode != "zeros" else None,
            "sharing": repr(str(self.sharing)) if self.sharing != default_sharing else None,
            "bias_sharing": repr(str(self.bias_sharing)) if self.bias_sharing is not None else None,
        }
        options = "".join(f", {word}={value}" for word, value in words.items() if value is not None)
        kernel = _format_axes(window.kernel_size)
        return f"{name}({self.in_channels}, {self.out_channels}, {kernel}{options})"


def _format_axes(values: Sequence[int]) -> str:
    """Format one value per axis as a scalar if all are equal."""
    return str(values[0]) if len(set(values)) == 1 else str(tuple(values))


def _format_padding(window: Window) -> str:
    if all(before == after for before, after in window.padding):
        return _format_axes([before for before, _ in window.padding])
    if set(window.stride) == {1}:
        same = Window(window.kernel_size, padding="same", dilation=window.dilation)
        if window.padding == same.padding:
            return repr("same")
    return repr(window.padding)
