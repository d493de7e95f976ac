"""Convolutions with any degree of weight sharing, in one to three dimensions."""

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from .._args import Size
from ..backends import PaddingMode, convolve, pad_input
from ..geometry import Padding, has_pairs
from ..sharing import Sharing
from .base import SharedLayer
from .fx import as_conv, record_call


class _ConvNd(SharedLayer):
    """A convolution with one to three spatial axes; subclasses define the number of axes."""

    transposed = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Padding = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: PaddingMode | Sequence[PaddingMode] = "zeros",
        device: torch.device | str | None = None,
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

        self._has_pairs = has_pairs(self.padding)

    def _output_size(self, input_size: tuple[int, ...]) -> tuple[int, ...]:
        return self.window.output_size(input_size, type(self).__name__, self.padding_mode)

    def forward(self, input: Tensor) -> Tensor:
        """Map [N, in, *size] to [N, out, *output_size], or [in, *size] to [out, *output_size]."""
        if not isinstance(input, Tensor):
            return record_call(self, (input,), partial(as_conv, self))
        unbatched = self._is_unbatched(input)
        weight, bias = self.weight, self.bias
        if self._takes_any_size:
            return self._call_torch(input, weight, bias)
        self._check(input, weight, bias)
        if self._backend is None:
            return self._add_bias(self._call_torch(input, weight, None), bias)
        result = convolve(
            input.unsqueeze(0) if unbatched else input,
            weight,
            None if bias is None else self._broadcast_bias(bias, input),
            self._backend,
            self.padding_mode,
            self._coefficients(input),
        )
        return result.squeeze(0) if unbatched else result

    def _call_torch(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Compute the convolution of `Full` with torch's function."""
        padding = self.padding
        if self.padding_mode != "zeros" or self._has_pairs:
            batched = input.dim() == self._ndim + 2
            padded = pad_input(input if batched else input[None], self.window, self.padding_mode)
            input, padding = (padded if batched else padded[0]), 0
        conv = type(self)._torch_function
        return conv(input, weight, bias, self.stride, padding, self.dilation, self.groups)


class Conv1d(_ConvNd):
    """A 1-D convolution with any degree of weight sharing.

    `sharing=Full()` is `torch.nn.Conv1d` and `sharing=Local()` is a locally connected layer. The arguments,
    parameters and errors are those of `Conv2d`.

    Shape:
        Input [N, in, L] or [in, L], output [N, out, L_out] or [out, L_out].

    Example:
        >>> from weightshare import Local
        >>> layer = Conv1d(4, 8, kernel_size=3, sharing=Local(), input_size=10)
        >>> layer(torch.zeros(2, 4, 10)).shape, layer.weight.shape
        (torch.Size([2, 8, 8]), torch.Size([8, 3, 4, 8]))
    """

    _ndim = 1
    _torch_function = staticmethod(F.conv1d)


class Conv2d(_ConvNd):
    """A 2-D convolution with any degree of weight sharing.

    The layer has K banks B, which `kernels()` returns. The kernel at output position p is
    W[p] = sum over k of A[p, k] B[k], with the assignment A = `assignment()`. `sharing=Full()` is
    `torch.nn.Conv2d` and takes inputs of any size. `sharing=Local()` gives each position its own kernel. The
    drawing shows which positions share a kernel:

        a a a a       a b a b       a a b b       a b c d
        a a a a       c d c d       a a b b       e f g h
        a a a a       a b a b       c c d d       i j k l
         Full()       Tiled(2)    Regional(2)     Local()

    Args:
        in_channels: Number of input channels, at least 1.
        out_channels: Number of output channels, at least 1.
        kernel_size: Number of taps per axis, at least 1.
        stride: Distance in inputs between neighboring output positions, at least 1.
        padding: Number of inputs added at each end of each axis: an int, one int per axis, or one pair
            (before, after) per axis; or "same" or "valid".
        dilation: Distance in inputs between neighboring taps, at least 1.
        groups: Number of channel groups; must divide `in_channels` and `out_channels`.
        bias: Whether to add a learned bias.
        padding_mode: "zeros", "reflect", "replicate" or "circular"; or a tuple with one mode per axis. For
            example, ("zeros", "circular") suits maps of the globe with the axes (latitude, longitude).
        device: Device of the parameters.
        dtype: Dtype of the parameters.
        sharing: Sharing of the kernels over the output positions. The default is `Full()`.
        input_size: Spatial size of the input. Required unless both sharings are `Full()`.
        bias_sharing: Sharing of the bias over the output positions. The default is `sharing`; for `LowRank`
            it is `Full()`.

    Each bank is initialized like the kernel of a `torch.nn.Conv2d`. To use another scheme, initialize each
    bank separately, because the functions of `torch.nn.init` compute a wrong fan-in for the whole `weight`:

        for kernel in layer.kernels().detach():
            torch.nn.init.kaiming_normal_(kernel)

    Shape:
        Input [N, in, H, W] or [in, H, W], output [N, out, H_out, W_out] or [out, H_out, W_out] with
        H_out = (H + before + after - dilation * (kernel_size - 1) - 1) // stride + 1, where `before` and
        `after` are the padding at the two ends.

    Parameters:
        weight: For `Full` [out, in/groups, *kernel_size]; for `Local` [P, *kernel_size, in/groups, out]; for
            all other sharings [K, out, in/groups, *kernel_size]. It has K x out x in/groups x taps elements.
        bias: [out] if its sharing is `Full`, else [K_bias, out].
        coefficients: Only for `LowRank`. Free coefficients are one parameter [rank, H_out, W_out]. Factorized
            coefficients are `coefficients_0` [rank, H_out] and `coefficients_1` [rank, W_out].

    Raises:
        ArgumentError: If an argument is invalid, or if the sharing requires `input_size` and it is missing.
        SharingError: If the sharing does not fit the output.
        ShapeError: In `forward`, if the input has the wrong rank, number of channels or size.

    Example:
        >>> from weightshare import Regional
        >>> layer = Conv2d(3, 8, kernel_size=3, padding=1, sharing=Regional(4), input_size=32)
        >>> layer(torch.zeros(2, 3, 32, 32)).shape, layer.weight.shape
        (torch.Size([2, 8, 32, 32]), torch.Size([16, 8, 3, 3, 3]))

    Source: LeCun et al., "Backpropagation applied to handwritten zip code recognition", Neural Computation
    1989, for weight sharing. The sharings name their own sources.
    """

    _ndim = 2
    _torch_function = staticmethod(F.conv2d)


class Conv3d(_ConvNd):
    """A 3-D convolution with any degree of weight sharing.

    `sharing=Full()` is `torch.nn.Conv3d` and `sharing=Local()` is a locally connected layer. The arguments,
    parameters and errors are those of `Conv2d`.

    Shape:
        Input [N, in, D, H, W] or [in, D, H, W], output [N, out, D_out, H_out, W_out] or the same without N.

    Example:
        >>> from weightshare import SharedAlong
        >>> layer = Conv3d(1, 4, kernel_size=3, sharing=SharedAlong(0), input_size=(9, 8, 8))
        >>> layer(torch.zeros(2, 1, 9, 8, 8)).shape, layer.weight.shape
        (torch.Size([2, 4, 7, 6, 6]), torch.Size([36, 4, 1, 3, 3, 3]))
    """

    _ndim = 3
    _torch_function = staticmethod(F.conv3d)
