"""Convolutions with any degree of weight sharing, in one to three dimensions."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .._args import Size
from ..backends import convolve, pad_input
from ..sharing import Sharing
from .base import SharedLayer


class _ConvNd(SharedLayer):
    """The convolutions of one to three dimensions: everything but the number of axes."""

    transposed = False

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
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=padding,
            output_padding=0,
            dilation=dilation,
            groups=groups,
            bias=bias,
            padding_mode=padding_mode,
            device=device,
            dtype=dtype,
            sharing=sharing,
            input_size=input_size,
            bias_sharing=bias_sharing,
        )

    def _output_size(self, input_size: tuple[int, ...]) -> tuple[int, ...]:
        return self.window.output_size(input_size, type(self).__name__, self.padding_mode)

    def forward(self, input: Tensor) -> Tensor:
        """[N, in, *size] or [in, *size] -> [N, out, *output_size] or [out, *output_size]."""
        unbatched = self._is_unbatched(input)
        if self._takes_any_size:
            return self._by_torch(input, self.bias)
        self._check(input)
        if self._backend is None:
            return self._add_bias(self._by_torch(input, None))
        result = convolve(
            input.unsqueeze(0) if unbatched else input,
            self._backend_weight(),
            None if self.bias is None else self._broadcast_bias(input),
            self._backend,
            self.padding_mode,
            self._coefficients(input),
        )
        return result.squeeze(0) if unbatched else result

    def _by_torch(self, input: Tensor, bias: Tensor | None) -> Tensor:
        """Full sharing, by torch's own function."""
        if self.padding_mode == "zeros":
            padding = self.padding
        else:
            batched = input.dim() == self._ndim + 2
            padded = pad_input(input if batched else input[None], self.window, self.padding_mode)
            input, padding = (padded if batched else padded[0]), 0
        conv = type(self)._torch_function
        return conv(input, self.weight, bias, self.stride, padding, self.dilation, self.groups)


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
    _torch_function = staticmethod(F.conv1d)


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
    _torch_function = staticmethod(F.conv2d)


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
    _torch_function = staticmethod(F.conv3d)
