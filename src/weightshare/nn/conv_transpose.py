"""Transposed convolutions with any degree of weight sharing, in one to three dimensions."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .._args import Size
from ..backends import convolve_transposed
from ..geometry import Window, check_transposed
from ..sharing import Full, Sharing
from . import checks
from .base import SharedLayer


class _ConvTransposeNd(SharedLayer):
    """The transposed convolutions of one to three dimensions: everything but the number of axes."""

    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        output_padding: Size = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Size = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: torch.dtype | None = None,
        *,
        sharing: Sharing | None = None,
        input_size: Size | None = None,
        bias_sharing: Sharing | None = None,
    ):
        name = type(self).__name__
        window = Window(kernel_size, stride, 0, dilation, ndim=self._ndim, where=name)
        check_transposed(name, padding, padding_mode, output_padding, window)
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=padding,
            output_padding=output_padding,
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
        return self.window.transposed_size(input_size, self.output_padding, type(self).__name__)

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """[N, in, *size] or [in, *size] -> [N, out, *output_size] or [out, *output_size].

        Args:
            output_size: Chooses the output padding, as torch's: the spatial size of the output, or that with
                all that stands in front of it.
        """
        unbatched = self._is_unbatched(input)
        extra = self.output_padding if output_size is None else self._extra(input, output_size)
        if self._takes_any_size:
            return self._by_torch(input, self.bias, extra)
        self._check(input)
        if self._backend is None:
            return self._add_bias(self._by_torch(input, None, extra))
        result = convolve_transposed(
            input.unsqueeze(0) if unbatched else input,
            self._backend_weight(),
            None if self.bias is None else self._broadcast_bias(input),
            self._backend,
            self.out_channels,
            extra,
            self._coefficients(input),
        )
        return result.squeeze(0) if unbatched else result

    def _extra(self, input: Tensor, output_size: Sequence[int]) -> tuple[int, ...]:
        """The output padding that gives this output size."""
        extra = checks.requested_padding(type(self).__name__, self.window, input.shape, output_size)
        if self.bias is not None and self.bias_sharing != Full() and extra != self.output_padding:
            raise checks.wrong_bias_size(
                type(self).__name__, self.output_size, output_size, self.bias_sharing
            )
        return extra

    def _by_torch(self, input: Tensor, bias: Tensor | None, extra: tuple[int, ...]) -> Tensor:
        """Full sharing, by torch's own function."""
        function = type(self)._torch_function
        return function(
            input, self.weight, bias, self.stride, self.padding, extra, self.groups, self.dilation
        )


class ConvTranspose1d(_ConvTransposeNd):
    """A 1-D transposed convolution whose weights are shared, over the positions of its input, by `sharing`.

    `sharing=Full()` is `torch.nn.ConvTranspose1d`; see `ConvTranspose2d` for the arguments.

    Shape:
        input [N, in, L] or [in, L], output [N, out, L_out] or [out, L_out].

    Example:
        >>> from weightshare import Local
        >>> layer = ConvTranspose1d(8, 4, kernel_size=3, stride=2, sharing=Local(), input_size=5)
        >>> layer(torch.zeros(2, 8, 5)).shape, layer.weight.shape
        (torch.Size([2, 4, 11]), torch.Size([5, 3, 4, 8]))
    """

    _ndim = 1
    _torch_function = staticmethod(F.conv_transpose1d)


class ConvTranspose2d(_ConvTransposeNd):
    """A 2-D transposed convolution whose weights are shared, over the positions of its input, by `sharing`.

    The adjoint of `Conv2d(out_channels, in_channels, ..., sharing=sharing)`: with the same weight and no
    biases, <conv(y), x> = <transposed(x), y>, so that a decoder can use its encoder's weight as it is. Every
    position q of the input adds W[q], scaled by its value, into the outputs that the adjoint's window at q
    sees, with W[q] = sum over k of A[q, k] B[k], the banks B = `kernels()` and A = `assignment()`.
    `sharing=Full()` is `torch.nn.ConvTranspose2d` and takes any resolution; `Local()` gives every input
    position a kernel of its own.

        input         output, Regional((1, 2)), kernel_size=2, stride=2
        a b           a a b b
        a b           a a b b
                      a a b b
                      a a b b

    Args:
        in_channels: Channels of the input, at least 1.
        out_channels: Channels of the output, at least 1.
        kernel_size: Taps on every axis.
        stride: Outputs from one input position to the next.
        padding: Outputs cut off at both ends of every axis; integers.
        output_padding: Outputs added at the end of every axis; smaller than stride or dilation.
        groups: Groups of channels; divides both channel numbers.
        bias: Whether to add a learned bias.
        dilation: Outputs from one tap to the next.
        padding_mode: "zeros" alone, as in torch.
        device: Of the parameters.
        dtype: Of the parameters.
        sharing: Which input positions share a kernel; default `Full()`.
        input_size: Spatial size of the input; needed by every sharing but `Full()`.
        bias_sharing: Which output positions share a bias; default `Full()`.

    All banks start as torch draws a transposed convolution's kernel.

    Shape:
        input [N, in, H, W] or [in, H, W], output [N, out, H_out, W_out] or [out, H_out, W_out], with
        H_out = (H - 1) * stride - 2 * padding + dilation * (kernel_size - 1) + output_padding + 1.

    Parameters:
        weight: `Full` [in, out/groups, *kernel_size]; `Local` [P, *kernel_size, out/groups, in]; every other
            sharing [K, in, out/groups, *kernel_size]. K x in x out/groups x taps numbers.
        bias: [out] when its sharing is `Full`, else [K_bias, out].
        coefficients: of `LowRank` alone, [rank, *input_size] if free; if factorized one an axis,
            coefficients_0 [rank, H] and coefficients_1 [rank, W].

    Raises:
        ArgumentError: an argument out of its range, or no `input_size` where one is needed.
        SharingError: a sharing that does not fit the input, or a bias sharing that does not fit the output.
        ShapeError: an output without positions; in `forward`, an input of another rank, channel number or
            size, or an `output_size` out of its range.

    Example:
        >>> from weightshare import Regional
        >>> from weightshare.nn import Conv2d
        >>> layer = ConvTranspose2d(8, 3, 4, stride=2, padding=1, sharing=Regional(4), input_size=16)
        >>> layer(torch.zeros(2, 8, 16, 16)).shape, layer.weight.shape
        (torch.Size([2, 3, 32, 32]), torch.Size([16, 8, 3, 4, 4]))
        >>> encoder = Conv2d(3, 8, 4, stride=2, padding=1, sharing=Regional(4), input_size=32)
        >>> encoder.weight.shape == layer.weight.shape
        True

    Source: Zeiler, Krishnan, Taylor and Fergus, "Deconvolutional networks", CVPR 2010; Dumoulin and Visin,
    "A guide to convolution arithmetic for deep learning", 2016, chapter 4.
    """

    _ndim = 2
    _torch_function = staticmethod(F.conv_transpose2d)


class ConvTranspose3d(_ConvTransposeNd):
    """A 3-D transposed convolution whose weights are shared, over the positions of its input, by `sharing`.

    `sharing=Full()` is `torch.nn.ConvTranspose3d`; see `ConvTranspose2d` for the arguments.

    Shape:
        input [N, in, D, H, W] or [in, D, H, W], output [N, out, D_out, H_out, W_out] or the same without N.

    Example:
        >>> from weightshare import SharedAlong
        >>> layer = ConvTranspose3d(4, 1, kernel_size=3, sharing=SharedAlong(0), input_size=(7, 6, 6))
        >>> layer(torch.zeros(2, 4, 7, 6, 6)).shape, layer.weight.shape
        (torch.Size([2, 1, 9, 8, 8]), torch.Size([36, 4, 1, 3, 3, 3]))
    """

    _ndim = 3
    _torch_function = staticmethod(F.conv_transpose3d)
