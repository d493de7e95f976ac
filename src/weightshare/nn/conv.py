"""Convolutions with any degree of weight sharing, in one to three dimensions."""

from collections.abc import Callable
from math import prod
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import Parameter

from .. import functional
from .._args import Size, integer, per_axis
from ..errors import ArgumentError, ShapeError
from ..geometry import Window, check_padding_mode
from ..kernels import LocalRows
from ..sharing import Full, Local, LowRank, Sharing
from . import checkpoint, init


class _ConvNd(torch.nn.Module):
    """What the layers of one to three dimensions share: everything but the number of axes."""

    _ndim: ClassVar[int]
    _torch_conv: ClassVar[Callable[..., Tensor]]
    _default_sharing: ClassVar[Sharing] = Full()

    in_channels: int
    out_channels: int
    weight: Parameter
    bias: Parameter | None
    #: Output positions on every spatial axis; None for a layer that takes any resolution.
    output_size: tuple[int, ...] | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size | str = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: torch.dtype | None = None,
        *,
        sharing: Sharing | None = None,
        input_size: Size | None = None,
        bias_sharing: Sharing | None = None,
    ):
        super().__init__()
        name, ndim = type(self).__name__, self._ndim
        self.in_channels = integer(name, "in_channels", in_channels, least=1)
        self.out_channels = integer(name, "out_channels", out_channels, least=1)
        self.groups = _check_groups(name, groups, self.in_channels, self.out_channels)
        self.padding = (
            padding if isinstance(padding, str) else per_axis(name, "padding", padding, ndim, least=0)
        )
        self.window = Window(kernel_size, stride, self.padding, dilation, ndim=ndim, where=name)
        self.kernel_size, self.stride = self.window.kernel_size, self.window.stride
        self.dilation = self.window.dilation
        self.padding_mode = check_padding_mode(name, padding_mode)
        self.sharing = _check_sharing(name, "sharing", sharing, self._default_sharing)
        if Full() != self._default_sharing != self.sharing:
            raise ArgumentError(
                name,
                f"sharing must be {self._default_sharing!r}",
                repr(self.sharing),
                f"use Conv{ndim}d for any other",
            )
        default = self.sharing if self.sharing.one_hot else Full()
        self.bias_sharing = _check_sharing(name, "bias_sharing", bias_sharing, default)
        self.input_size, self.output_size = self._sizes(input_size)

        self._any_size = self.sharing == Full() and (self.bias_sharing == Full() or not bias)
        self._pads = self.padding_mode != "zeros"
        self._kernel = None
        if self.sharing != Full():
            self._kernel = functional.choose(self.sharing, self.window, self.output_size, self.groups)  # type: ignore
        if self.bias_sharing != Full():
            self._bias_index = functional.bank_index(self.bias_sharing, self.output_size)  # type: ignore
        self._make_parameters(bias, {"device": device, "dtype": dtype})
        self.reset_parameters()

    def _sizes(self, input_size: Size | None) -> tuple[tuple[int, ...] | None, tuple[int, ...] | None]:
        """The input's and the output's spatial size, checked against both sharings."""
        name = type(self).__name__
        if input_size is None:
            for argument, sharing in (("sharing", self.sharing), ("bias_sharing", self.bias_sharing)):
                if sharing != Full():
                    raise ArgumentError(
                        name,
                        f"{argument}={sharing!r} needs input_size, the spatial size of the input",
                        "none",
                        f"give input_size= with {self._ndim} numbers (only Full() takes any size)",
                    )
            return None, None
        size = per_axis(name, "input_size", input_size, self._ndim, least=1)
        out = self.window.output_size(size, name, self.padding_mode)
        kernel = self.kernel_size[0] if len(set(self.kernel_size)) == 1 else self.kernel_size
        source = f" from input_size={size}, kernel_size={kernel}"
        self.sharing.check(out, f"{name}: sharing=", source)
        self.bias_sharing.check(out, f"{name}: bias_sharing=", source)
        return size, out

    def _make_parameters(self, bias: bool, factory: dict) -> None:
        per_group = self.in_channels // self.groups
        shape = (self.out_channels, per_group, *self.kernel_size)
        if self.sharing == Local():
            shape = (prod(self.output_size), *self.kernel_size, per_group, self.out_channels)  # type: ignore
        elif self.sharing != Full():
            shape = (self.sharing.banks(self.output_size), *shape)  # type: ignore
        weight = torch.empty(shape, **factory)
        if self.sharing != Full() and not weight.is_floating_point():
            raise ArgumentError(
                type(self).__name__,
                f"dtype must be a floating-point type for sharing={self.sharing!r}",
                str(weight.dtype),
                "use float32, or sharing=Full(), which takes what torch's convolution takes",
            )
        self.weight = Parameter(weight)
        if isinstance(self.sharing, LowRank):
            for name, size in self.sharing.coefficient_shapes(self.output_size).items():  # type: ignore
                self.register_parameter(name, Parameter(torch.empty(size, **factory)))
        if not bias:
            self.register_parameter("bias", None)
        elif self.bias_sharing == Full():
            self.bias = Parameter(torch.empty(self.out_channels, **factory))
        else:
            banks = self.bias_sharing.banks(self.output_size)  # type: ignore[arg-type]
            self.bias = Parameter(torch.empty(banks, self.out_channels, **factory))
        if not self._any_size:
            numbers = self._digest()
            self.register_buffer(
                "sharing_digest", torch.empty(len(numbers), dtype=torch.int64, device=factory["device"])
            )

    def _digest(self) -> list[int]:
        bias_sharing = None if self.bias is None else self.bias_sharing
        return checkpoint.digest(self.sharing, bias_sharing, self.output_size, self.kernel_size)  # type: ignore[arg-type]

    def reset_parameters(self) -> None:
        """Draw all parameters anew, as `torch.nn.ConvNd` draws them for one kernel."""
        fan_in = self.in_channels // self.groups * prod(self.kernel_size)
        init.reset_weight(self.weight, self.sharing, fan_in)
        if self.bias is not None:
            init.reset_bias(self.bias, fan_in)
        init.reset_coefficients(self._coefficient_terms())
        if not self._any_size:
            with torch.no_grad():
                self.sharing_digest.copy_(torch.tensor(self._digest()))  # type: ignore[operator]

    def _apply(self, fn, recurse=True):
        """Move or cast; memory formats are for images and leave banks of kernels as they are."""
        if self.sharing == Full():
            return super()._apply(fn, recurse)
        plain = (Tensor, Parameter)  # a sharded tensor has no memory format of its own

        def flat(t):
            return fn(t.flatten()).view(t.shape) if t.dim() > 3 and type(t) in plain else fn(t)

        return super()._apply(flat, recurse)

    def forward(self, input: Tensor) -> Tensor:
        """[N, in, *size] or [in, *size] -> [N, out, *output_size] or [out, *output_size]."""
        if not isinstance(input, Tensor):
            raise self._no_tensor(input)
        shape, ndim = input.shape, self._ndim
        unbatched = len(shape) == ndim + 1
        if not (unbatched or len(shape) == ndim + 2) or shape[-ndim - 1] != self.in_channels:
            raise self._wrong_input(shape)
        if self._kernel is None:
            if self._any_size:
                return self._convolution(input, self.bias)
            self._check(input)
            result = self._convolution(input, None)
            return result if self.bias is None else result + self.bias_map()
        self._check(input)
        weight = self.weight
        if isinstance(self._kernel, LocalRows) and self.sharing != Local():
            weight = functional.as_local(weight)
        bias = None if self.bias is None else self._broadcast_bias()
        result = functional.conv(
            input.unsqueeze(0) if unbatched else input,
            weight,
            bias,
            self._kernel,
            self.padding_mode,
            self._coefficients(),
        )
        return result.squeeze(0) if unbatched else result

    def _convolution(self, input: Tensor, bias: Tensor | None) -> Tensor:
        if self._pads:
            batched = input.dim() == self._ndim + 2
            padded = functional.pad(input if batched else input[None], self.window, self.padding_mode)
            input, padding = (padded if batched else padded[0]), 0
        else:
            padding = self.padding
        conv = type(self)._torch_conv
        return conv(input, self.weight, bias, self.stride, padding, self.dilation, self.groups)

    def kernels(self) -> Tensor:
        """The banks of kernels [K, out, in/groups, *kernel_size], whatever the layout of `weight`."""
        if self.sharing == Full():
            return self.weight.unsqueeze(0)
        return functional.as_banks(self.weight) if self.sharing == Local() else self.weight

    def assignment(self) -> Tensor:
        """Which position uses which bank: A [P, K], so that W[p] = sum over k of A[p, k] kernels()[k].

        One-hot but for `LowRank`, where it is differentiable in the coefficients. P x K numbers, which for
        `Local` is many.
        """
        size = self._known_size("assignment()")
        if isinstance(self.sharing, LowRank):
            mixed = self._coefficients().flatten(1).T  # type: ignore[union-attr]
            return torch.cat([mixed.new_ones(prod(size), 1), mixed], dim=1)
        labels = torch.tensor(self.sharing.labels(size), device=self.weight.device)
        return F.one_hot(labels, self.sharing.banks(size)).to(self.weight.dtype)

    def bias_map(self) -> Tensor:
        """The bias of every output neuron [out, *output_size]; zeros without bias."""
        shape = (self.out_channels, *self._known_size("bias_map()"))
        if self.bias is None:
            return self.weight.new_zeros(shape)
        return self._broadcast_bias().expand(shape)

    def _broadcast_bias(self) -> Tensor:
        """The bias in a shape that broadcasts to [out, *output_size]."""
        bias: Tensor = self.bias  # type: ignore[assignment]
        if self.bias_sharing == Full():
            return bias.view(-1, *(1,) * self._ndim)
        return functional.spread(bias, self.bias_sharing, self.output_size, self._bias_index)  # type: ignore

    def _coefficient_terms(self) -> list[Tensor]:
        if not isinstance(self.sharing, LowRank):
            return []
        return [getattr(self, name) for name in self.sharing.coefficient_shapes(self.output_size)]  # type: ignore

    def _coefficients(self) -> Tensor | None:
        """[rank, *output_size] for low rank, None otherwise."""
        terms = self._coefficient_terms()
        if len(terms) < 2:
            return terms[0] if terms else None
        ndim = len(terms)
        return sum(
            term.view(-1, *(1,) * axis, term.shape[1], *(1,) * (ndim - axis - 1))
            for axis, term in enumerate(terms)
        )  # type: ignore[return-value]

    def _known_size(self, what: str) -> tuple[int, ...]:
        if self.output_size is None:
            raise ArgumentError(
                type(self).__name__,
                f"{what} needs the number of positions",
                "a layer built without input_size",
                "give input_size= when building it",
            )
        return self.output_size

    def _check(self, input: Tensor) -> None:
        if input.shape[-self._ndim :] != self.input_size:
            raise self._wrong_input(input.shape)
        if input.dtype != self.weight.dtype and not torch.is_autocast_enabled(input.device.type):
            raise ShapeError(
                type(self).__name__,
                f"input must have the dtype of the weights, {self.weight.dtype}",
                str(input.dtype),
                "convert one of them with .to()",
            )

    def _no_tensor(self, input: object) -> ArgumentError:
        got = type(input).__name__
        return ArgumentError(type(self).__name__, "input must be a torch.Tensor", got, "convert it first")

    def _wrong_input(self, shape: torch.Size) -> ShapeError:
        spatial = "*size" if self._any_size else ", ".join(map(str, self.input_size))  # type: ignore
        want = f"[N, {self.in_channels}, {spatial}] or [{self.in_channels}, {spatial}]"
        way_out = (
            "give it that many channels and spatial axes"
            if self._any_size
            else f"resize the input, or build the layer with another input_size (its {self.sharing!r} "
            "has weights for this size alone)"
        )
        return ShapeError(type(self).__name__, f"input must be {want}", f"{list(shape)}", way_out)

    def _load_from_state_dict(
        self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
    ) -> None:
        """Load a plain convolution into any sharing; refuse another sharing's weights, naming both."""
        error = checkpoint.mismatch(self, None if self._any_size else self._digest(), state_dict, prefix)
        if error is not None:
            error_msgs.append(error)
            return
        if not self._any_size:
            checkpoint.expand_plain(self, self._digest(), state_dict, prefix)
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )

    def _save_to_state_dict(self, destination, prefix, keep_vars) -> None:
        """The digest is that of the layer, whatever averaging or `to_empty` made of the buffer."""
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if not self._any_size:
            device = self.weight.device
            destination[f"{prefix}sharing_digest"] = torch.tensor(self._digest(), device=device)

    def extra_repr(self) -> str:
        """Torch's own line, with the sharing."""
        parts = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"]
        parts.append(f"stride={self.stride}")
        if any(map(any, self.window.padding)):
            parts.append(f"padding={self.padding!r}")
        if any(d != 1 for d in self.dilation):
            parts.append(f"dilation={self.dilation}")
        if self.groups != 1:
            parts.append(f"groups={self.groups}")
        if self.bias is None:
            parts.append("bias=False")
        if self._pads:
            parts.append(f"padding_mode={self.padding_mode}")
        parts.append(f"sharing={self.sharing!r}")
        if self.input_size is not None:
            parts.append(f"input_size={self.input_size}")
        if self.bias is not None and self.bias_sharing != self.sharing:
            parts.append(f"bias_sharing={self.bias_sharing!r}")
        return ", ".join(parts)


def _check_groups(where: str, groups: object, in_channels: int, out_channels: int) -> int:
    number = integer(where, "groups", groups, least=1)
    if in_channels % number or out_channels % number:
        raise ArgumentError(
            where,
            "groups must divide in_channels and out_channels",
            f"groups={number}, in_channels={in_channels}, out_channels={out_channels}",
            "use a common divisor",
        )
    return number


def _check_sharing(where: str, argument: str, value: object, default: Sharing) -> Sharing:
    if value is None:
        return default
    if not isinstance(value, Sharing):
        raise ArgumentError(
            where,
            f"{argument} must be a sharing such as Tiled(2)",
            repr(value),
            "use parse_sharing() for one written as text",
        )
    if argument == "bias_sharing" and not value.one_hot:
        raise ArgumentError(
            where,
            "bias_sharing must give every position one bias",
            repr(value),
            "use Full(), Local() or another sharing that is not LowRank",
        )
    return value


class Conv1d(_ConvNd):
    """A 1-D convolution whose weights are shared as `sharing` says.

    `sharing=Full()` is `torch.nn.Conv1d`, `Local()` a locally connected layer; see `Conv2d` for the
    arguments.

    Shape:
        input [N, in, L] or [in, L], output [N, out, L_out] or [out, L_out].

    Example:
        >>> from weightshare import Local
        >>> layer = Conv1d(4, 8, kernel_size=3, sharing=Local(), input_size=10)
        >>> layer(torch.zeros(2, 4, 10)).shape, layer.weight.shape
        (torch.Size([2, 8, 8]), torch.Size([8, 3, 4, 8]))
    """

    _ndim = 1
    _torch_conv = staticmethod(F.conv1d)


class Conv2d(_ConvNd):
    """A 2-D convolution whose weights are shared as `sharing` says.

    The kernel at output position p is W[p] = sum over k of A[p, k] B[k], with the banks B = `kernels()` and
    A = `assignment()`. `sharing=Full()` is `torch.nn.Conv2d` and takes any resolution; `Local()` gives every
    position a kernel of its own.

        a a a a       a b a b       a a b b       a b c d
        a a a a       c d c d       a a b b       e f g h
        a a a a       a b a b       c c d d       i j k l
         Full()       Tiled(2)    Regional(2)     Local()

    Args:
        in_channels: Channels of the input, at least 1.
        out_channels: Channels of the output, at least 1.
        kernel_size: Taps on every axis.
        stride: Inputs from one output position to the next.
        padding: Inputs added at both ends of every axis, or "same" or "valid".
        dilation: Inputs from one tap to the next.
        groups: Groups of channels; divides both channel numbers.
        bias: Whether to add a learned bias.
        padding_mode: "zeros", "reflect", "replicate" or "circular".
        device: Of the parameters.
        dtype: Of the parameters.
        sharing: Which output positions share a kernel; default `Full()`.
        input_size: Spatial size of the input; needed by every sharing but `Full()`.
        bias_sharing: Which positions share a bias; default as `sharing`, for `LowRank` `Full()`.

    All banks start as torch draws a convolution's kernel. To draw them otherwise, fill them one by one (a
    function of the whole `weight` would take its fan-in from the number of banks):
    `for kernel in layer.kernels().detach(): torch.nn.init.kaiming_normal_(kernel)`.

    Shape:
        input [N, in, H, W] or [in, H, W], output [N, out, H_out, W_out] or [out, H_out, W_out].

    Parameters:
        weight: `Full` [out, in/groups, *kernel_size]; `Local` [P, *kernel_size, in/groups, out]; every other
            sharing [K, out, in/groups, *kernel_size]. K x out x in/groups x taps numbers.
        bias: [out] when its sharing is `Full`, else [K_bias, out].
        coefficients: of `LowRank` alone, [rank, *output_size] if free; if factorized one an axis,
            coefficients_0 [rank, H_out] and coefficients_1 [rank, W_out].

    Raises:
        ArgumentError: an argument out of its range, or no `input_size` where one is needed.
        SharingError: a sharing that does not fit the output.
        ShapeError: in `forward`, an input of another rank, channel number or size.

    Example:
        >>> from weightshare import Regional
        >>> layer = Conv2d(3, 8, kernel_size=3, padding=1, sharing=Regional(4), input_size=32)
        >>> layer(torch.zeros(2, 3, 32, 32)).shape, layer.weight.shape
        (torch.Size([2, 8, 32, 32]), torch.Size([16, 8, 3, 3, 3]))

    Source: LeCun et al., "Backpropagation applied to handwritten zip code recognition", Neural Computation
    1989, for weight sharing; the sources of its degrees stand with each sharing.
    """

    _ndim = 2
    _torch_conv = staticmethod(F.conv2d)


class Conv3d(_ConvNd):
    """A 3-D convolution whose weights are shared as `sharing` says.

    `sharing=Full()` is `torch.nn.Conv3d`, `Local()` a locally connected layer; see `Conv2d` for the
    arguments.

    Shape:
        input [N, in, D, H, W] or [in, D, H, W], output [N, out, D_out, H_out, W_out] or the same without N.

    Example:
        >>> from weightshare import SharedAlong
        >>> layer = Conv3d(1, 4, kernel_size=3, sharing=SharedAlong(0), input_size=(9, 8, 8))
        >>> layer(torch.zeros(2, 1, 9, 8, 8)).shape, layer.weight.shape
        (torch.Size([2, 4, 7, 6, 6]), torch.Size([36, 4, 1, 3, 3, 3]))
    """

    _ndim = 3
    _torch_conv = staticmethod(F.conv3d)
