"""Transposed convolutions with any degree of weight sharing, in one to three dimensions."""

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from .._args import Size
from ..backends import PaddingMode, convolve_transposed
from ..geometry import Window, check_even_padding, check_transposed
from ..sharing import Full, Sharing
from . import checks
from .base import SharedLayer
from .fx import as_conv_transpose, record_call


class _ConvTransposeNd(SharedLayer):
    """A transposed convolution with one to three spatial axes; subclasses define the number of axes."""

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
        padding_mode: PaddingMode = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        sharing: Sharing | None = None,
        input_size: Size | None = None,
        bias_sharing: Sharing | None = None,
    ):
        name = type(self).__name__
        window = Window(kernel_size, stride, 0, dilation, ndim=self._ndim, where=name)
        check_transposed(name, padding, padding_mode, output_padding, window)
        window = Window(kernel_size, stride, padding, dilation, ndim=self._ndim, where=name)
        check_even_padding(name, window.padding)
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
        """Map [N, in, *size] to [N, out, *output_size], or [in, *size] to [out, *output_size].

        Args:
            input: The input.
            output_size: Spatial size of the output, or its whole shape, as for `torch.nn.ConvTranspose2d`. It
                replaces `output_padding` for this call.
        """
        if not isinstance(input, Tensor):
            return record_call(self, (input, output_size), partial(as_conv_transpose, self))
        unbatched = self._is_unbatched(input)
        weight, bias = self.weight, self.bias
        extra = self.output_padding if output_size is None else self._find_output_padding(input, output_size)
        if self._takes_any_size:
            return self._call_torch(input, weight, bias, extra)
        self._check(input, weight, bias)
        if self._backend is None:
            return self._add_bias(self._call_torch(input, weight, None, extra), bias)
        result = convolve_transposed(
            input.unsqueeze(0) if unbatched else input,
            weight,
            None if bias is None else self._broadcast_bias(bias, input),
            self._backend,
            self.out_channels,
            extra,
            self._coefficients(input),
        )
        return result.squeeze(0) if unbatched else result

    def _find_output_padding(self, input: Tensor, output_size: Sequence[int]) -> tuple[int, ...]:
        """Return the output padding that results in this output size."""
        extra = checks.find_output_padding(type(self).__name__, self.window, input.shape, output_size)
        if self.bias is not None and self.bias_sharing != Full() and extra != self.output_padding:
            raise checks.wrong_bias_size(
                type(self).__name__, self.output_size, output_size, self.bias_sharing
            )
        return extra

    def _call_torch(
        self, input: Tensor, weight: Tensor, bias: Tensor | None, extra: tuple[int, ...]
    ) -> Tensor:
        """Compute the transposed convolution of `Full` with torch's function."""
        function = type(self)._torch_function
        return function(input, weight, bias, self.stride, self.padding, extra, self.groups, self.dilation)


class ConvTranspose1d(_ConvTransposeNd):
    """A 1-D transposed convolution with any degree of weight sharing over its input positions.

    `sharing=Full()` is `torch.nn.ConvTranspose1d`. The arguments, parameters and errors are those of
    `ConvTranspose2d`.

    Shape:
        Input [N, in, L] or [in, L], output [N, out, L_out] or [out, L_out].

    Example:
        >>> from weightshare import Local
        >>> layer = ConvTranspose1d(8, 4, kernel_size=3, stride=2, sharing=Local(), input_size=5)
        >>> layer(torch.zeros(2, 8, 5)).shape, layer.weight.shape
        (torch.Size([2, 4, 11]), torch.Size([5, 3, 4, 8]))
    """

    _ndim = 1
    _torch_function = staticmethod(F.conv_transpose1d)


class ConvTranspose2d(_ConvTransposeNd):
    """A 2-D transposed convolution with any degree of weight sharing over its input positions.

    Each input position q adds its value times the kernel W[q] to the outputs in its window. As in `Conv2d`,
    W[q] = sum over k of A[q, k] B[k], with B = `kernels()` and A = `assignment()`. `sharing=Full()` is
    `torch.nn.ConvTranspose2d` and takes inputs of any size. `sharing=Local()` gives each input position its
    own kernel.

    The layer is the adjoint of `conv = Conv2d(out_channels, in_channels, ..., sharing=sharing)`: with the
    same weight and without biases, <conv(y), x> = <y, layer(x)>. A decoder can therefore use the weight of
    its encoder unchanged.

        input         output with Regional((1, 2)), kernel_size=2, stride=2
        a b           a a b b
        a b           a a b b
                      a a b b
                      a a b b

    Args:
        in_channels: Number of input channels, at least 1.
        out_channels: Number of output channels, at least 1.
        kernel_size: Number of taps per axis, at least 1.
        stride: Distance in outputs between neighboring input positions, at least 1.
        padding: Number of outputs removed at both ends of each axis.
        output_padding: Number of outputs added at the end of each axis; must be below stride or dilation.
        groups: Number of channel groups; must divide `in_channels` and `out_channels`.
        bias: Whether to add a learned bias.
        dilation: Distance in outputs between neighboring taps, at least 1.
        padding_mode: Only "zeros", as in torch.
        device: Device of the parameters.
        dtype: Dtype of the parameters.
        sharing: Sharing of the kernels over the input positions. The default is `Full()`.
        input_size: Spatial size of the input. Required unless both sharings are `Full()`.
        bias_sharing: Sharing of the bias over the output positions. The default is `Full()`.

    Each bank is initialized like the kernel of a `torch.nn.ConvTranspose2d`.

    Shape:
        Input [N, in, H, W] or [in, H, W], output [N, out, H_out, W_out] or [out, H_out, W_out] with
        H_out = (H - 1) * stride - 2 * padding + dilation * (kernel_size - 1) + output_padding + 1.

    Parameters:
        weight: For `Full` [in, out/groups, *kernel_size]; for `Local` [P, *kernel_size, out/groups, in]; for
            all other sharings [K, in, out/groups, *kernel_size]. It has K x in x out/groups x taps elements.
        bias: [out] if its sharing is `Full`, else [K_bias, out].
        coefficients: Only for `LowRank`. Free coefficients are one parameter [rank, H, W]. Factorized
            coefficients are `coefficients_0` [rank, H] and `coefficients_1` [rank, W].

    Raises:
        ArgumentError: If an argument is invalid, or if the sharing requires `input_size` and it is missing.
        SharingError: If the sharing does not fit the input, or the bias sharing does not fit the output.
        ShapeError: If the output would be empty. In `forward`, if the input has the wrong rank, number of
            channels or size, or if `output_size` is invalid.

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
    """A 3-D transposed convolution with any degree of weight sharing over its input positions.

    `sharing=Full()` is `torch.nn.ConvTranspose3d`. The arguments, parameters and errors are those of
    `ConvTranspose2d`.

    Shape:
        Input [N, in, D, H, W] or [in, D, H, W], output [N, out, D_out, H_out, W_out] or the same without N.

    Example:
        >>> from weightshare import SharedAlong
        >>> layer = ConvTranspose3d(4, 1, kernel_size=3, sharing=SharedAlong(0), input_size=(7, 6, 6))
        >>> layer(torch.zeros(2, 4, 7, 6, 6)).shape, layer.weight.shape
        (torch.Size([2, 1, 9, 8, 8]), torch.Size([36, 4, 1, 3, 3, 3]))
    """

    _ndim = 3
    _torch_function = staticmethod(F.conv_transpose3d)
