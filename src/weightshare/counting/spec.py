"""A layer as torch users write it, held as a value: everything that a count depends on and nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass

from .._args import integer
from ..errors import ShapeError, SharingError
from ..geometry import Window, check_groups, check_padding_mode, check_transposed
from ..sharing import Full, Local, LowRank, Sharing
from .connections import Axis
from .sizes import size_text, split_size

FULL = Full()


@dataclass(frozen=True)
class LayerSpec:
    """A convolution, transposed convolution, locally connected or linear layer.

    A linear layer is the case without spatial axes: one position that sees every input.

    Args:
        name: The class as torch (or this package) calls it.
        window: Where each output position looks; for a transposed layer, where each *input* position writes.
        output_padding: As torch's, one number an axis; empty for layers that are not transposed.
        bias_sharing: None means as `sharing` where that is one-hot, else `Full`.
        input_size: Spatial size of the input, where the layer itself fixes it.
        notes: What was understood on the way here, for the reader of the answer.

    Raises:
        ArgumentError: channels below 1, groups that do not divide them, an unknown padding mode.
        SharingError: a low-rank bias, or a low-rank linear layer.

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
    padding_mode: str = "zeros"
    sharing: Sharing = FULL
    bias_sharing: Sharing | None = None
    input_size: tuple[int, ...] | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self):
        channels, outputs = ("channels", "channels") if self.ndim else ("features", "features")
        integer(self.name, f"in_{channels}", self.in_channels, least=1)
        integer(self.name, f"out_{outputs}", self.out_channels, least=1)
        check_groups(self.name, self.groups, self.in_channels, self.out_channels)
        check_padding_mode(self.name, self.padding_mode)
        if self.transposed:
            check_transposed(
                self.name, self.window.padding, self.padding_mode, self.output_padding, self.window
            )
        if self.bias_sharing is not None and not self.bias_sharing.one_hot:
            raise SharingError(
                f"{self.name}: bias_sharing={self.bias_sharing!r}",
                "must be one-hot (each position uses one bias)",
                "a low-rank sharing",
                "use Full(), Local() or another",
            )
        if not self.ndim and isinstance(self.sharing, LowRank):
            raise SharingError(
                f"{self.name}: sharing={self.sharing!r}",
                "has one position and nothing to share",
                "corrections that vary by position",
                "leave sharing= out",
            )

    @property
    def ndim(self) -> int:
        """Number of spatial axes, 0 for a linear layer."""
        return self.window.ndim

    @property
    def near(self) -> tuple[str, int]:
        """The side with one kernel a channel and position: the output; of a transposed layer the input."""
        return self._input_side if self.transposed else self._output_side

    @property
    def far(self) -> tuple[str, int]:
        """The side that a kernel reaches over to, in channels of one group."""
        label, channels = self._output_side if self.transposed else self._input_side
        if self.groups > 1:
            label += f" of a group ({channels:,} / {self.groups:,})"
        return label, channels // self.groups

    @property
    def _input_side(self) -> tuple[str, int]:
        return "input channels" if self.ndim else "input features", self.in_channels

    @property
    def _output_side(self) -> tuple[str, int]:
        return "output channels" if self.ndim else "output features", self.out_channels

    @property
    def weights_per_neuron(self) -> int:
        """Weights that meet at an ordinary output neuron; transposed: that leave an input neuron."""
        return self.window.taps * self.far[1]

    def bias_shared(self, sharing: Sharing) -> Sharing:
        """How the bias is shared where the weights are shared by `sharing`."""
        if self.bias_sharing is not None:
            return self.bias_sharing
        return Full() if self.transposed or not sharing.one_hot else sharing

    def output_size(self, input_size: Sequence[int]) -> tuple[int, ...]:
        """Spatial size of the output."""
        if not self.ndim:
            return ()
        if not self.transposed:
            return self.window.output_size(tuple(input_size), self.name, self.padding_mode)
        return self.window.transposed_size(input_size, self.output_padding, self.name)

    def position_size(self, input_size: Sequence[int]) -> tuple[int, ...]:
        """Size of the grid of positions that share: the output; of a transposed layer the input."""
        return tuple(input_size) if self.transposed else self.output_size(input_size)

    def axes(self, input_size: Sequence[int]) -> list[Axis]:
        """Which positions meet which inputs, axis by axis (for a transposed layer: which outputs)."""
        w, out = self.window, self.output_size(input_size)
        positions, others = (tuple(input_size), out) if self.transposed else (out, tuple(input_size))
        return [
            Axis(inputs, outputs, k, s, d, before)
            for inputs, outputs, k, s, d, (before, _) in zip(
                others, positions, w.kernel_size, w.stride, w.dilation, w.padding
            )
        ]

    def spatial_size(self, input_size: object) -> tuple[int, ...]:
        """`input_size` without its channels, which are checked where they are given."""
        channels, size = split_size(self.name, self.ndim, input_size)
        if channels is not None and channels != self.in_channels:
            word = "channels" if self.ndim else "features"
            raise ShapeError(
                self.name,
                f"the input must have in_{word}={self.in_channels}",
                f"{channels} from input {size_text((channels, *size))}",
                "put the channels first, as in 3x32x32, or leave them out" if self.ndim else "give that many",
            )
        return size

    def __str__(self) -> str:
        w, local = self.window, self.name.startswith("LocallyConnected")
        if not self.ndim:
            bias = "" if self.bias else ", bias=False"
            return f"Linear({self.in_channels}, {self.out_channels}{bias})"
        unusual_local = local and not isinstance(self.sharing, Local)
        name = f"Conv{self.ndim}d" if unusual_local else self.name
        default = Local() if local and not unusual_local else Full()
        padding = _padding_text(w)
        words = {
            "stride": _short(w.stride) if set(w.stride) != {1} else None,
            "padding": padding if padding != "0" else None,
            "output_padding": _short(self.output_padding) if any(self.output_padding) else None,
            "dilation": _short(w.dilation) if set(w.dilation) != {1} else None,
            "groups": str(self.groups) if self.groups > 1 else None,
            "bias": None if self.bias else "False",
            "padding_mode": repr(self.padding_mode) if self.padding_mode != "zeros" else None,
            "sharing": repr(str(self.sharing)) if self.sharing != default else None,
            "bias_sharing": repr(str(self.bias_sharing)) if self.bias_sharing is not None else None,
        }
        given = "".join(f", {word}={value}" for word, value in words.items() if value is not None)
        return f"{name}({self.in_channels}, {self.out_channels}, {_short(w.kernel_size)}{given})"


def _short(values: Sequence[int]) -> str:
    return str(values[0]) if len(set(values)) == 1 else str(tuple(values))


def _padding_text(window: Window) -> str:
    if all(before == after for before, after in window.padding):
        return _short([before for before, _ in window.padding])
    same = [d * (k - 1) for k, d in zip(window.kernel_size, window.dilation)]
    halves = tuple((total // 2, total - total // 2) for total in same)
    return repr("same") if window.padding == halves and set(window.stride) == {1} else repr(window.padding)
