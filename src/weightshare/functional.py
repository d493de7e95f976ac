"""Convolutions with any degree of weight sharing as functions, like those of `torch.nn.functional`."""

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import Any

import torch.nn.functional as F
from torch import Tensor
from torch.fx import wrap

from ._args import Size, check_integer, check_largest
from .backends import BankValues, PaddingMode, choose, convolve, convolve_transposed, layout_of, pad_input
from .backends.checks import check_operands, not_a_tensor
from .backends.exportable import portable
from .backends.low_rank import combine_coefficients
from .errors import ArgumentError, ShapeError
from .geometry import (
    Padding,
    PaddingModes,
    Window,
    check_even_padding,
    check_padding_mode,
    check_transposed,
    has_pairs,
    simplify_padding,
    wrong_shape,
)
from .sharing import Full, LowRank, Sharing, check_sharing

__all__ = [
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "portable",
]

Coefficients = Tensor | Sequence[Tensor] | None

_CONV: dict[int, Any] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_CONV_TRANSPOSE: dict[int, Any] = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
_choose = lru_cache(maxsize=256)(choose)
_bank_values = lru_cache(maxsize=256)(BankValues.of)


def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
    *,
    sharing: Sharing | None = None,
    padding_mode: PaddingMode | Sequence[PaddingMode] = "zeros",
    bias_sharing: Sharing | None = None,
    coefficients: Coefficients = None,
) -> Tensor:
    """Compute a 1-D convolution with any degree of weight sharing; see `conv2d`."""
    geometry = stride, padding, dilation, groups
    return _conv(1, input, weight, bias, *geometry, sharing, padding_mode, bias_sharing, coefficients)


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
    *,
    sharing: Sharing | None = None,
    padding_mode: PaddingMode | Sequence[PaddingMode] = "zeros",
    bias_sharing: Sharing | None = None,
    coefficients: Coefficients = None,
) -> Tensor:
    """Compute a 2-D convolution with any degree of weight sharing.

    This is the functional form of `weightshare.nn.Conv2d`. The arguments are those of
    `torch.nn.functional.conv2d`, which is called for `sharing=Full()`. `conv1d` and `conv3d` are the 1-D and
    3-D forms.

    Args:
        input: Input [N, in, H, W] or [in, H, W].
        weight: Weight in the layout of the layer: for `Full` [out, in/groups, *kernel_size], for `Local`
            [P, *kernel_size, in/groups, out], for all other sharings [K, out, in/groups, *kernel_size].
        bias: Bias [out] if its sharing is `Full`, else [K_bias, out]; or None.
        stride: Distance in inputs between neighboring output positions, at least 1.
        padding: Number of inputs added at each end of each axis: an int, one int per axis, or one pair
            (before, after) per axis; or "same" or "valid".
        dilation: Distance in inputs between neighboring taps, at least 1.
        groups: Number of channel groups; must divide both numbers of channels.
        sharing: Sharing of the kernels over the output positions. The default is `Full()`.
        padding_mode: "zeros", "reflect", "replicate" or "circular"; or a tuple with one mode per axis.
        bias_sharing: Sharing of the bias over the output positions. The default is `sharing`; for `LowRank`
            it is `Full()`.
        coefficients: Coefficients, only for `LowRank`: [rank, H_out, W_out], or one tensor [rank, n] per
            axis.

    Returns:
        [N, out, H_out, W_out] or [out, H_out, W_out].

    Raises:
        ArgumentError: If an argument is invalid.
        SharingError: If a sharing does not fit the output.
        ShapeError: If a tensor has the wrong shape, device or dtype.

    Example:
        >>> import torch
        >>> from weightshare import Regional
        >>> input, weight = torch.randn(2, 3, 8, 8), torch.randn(4, 16, 3, 3, 3)
        >>> conv2d(input, weight, padding=1, sharing=Regional(2)).shape
        torch.Size([2, 16, 8, 8])
    """
    geometry = stride, padding, dilation, groups
    return _conv(2, input, weight, bias, *geometry, sharing, padding_mode, bias_sharing, coefficients)


def conv3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
    *,
    sharing: Sharing | None = None,
    padding_mode: PaddingMode | Sequence[PaddingMode] = "zeros",
    bias_sharing: Sharing | None = None,
    coefficients: Coefficients = None,
) -> Tensor:
    """Compute a 3-D convolution with any degree of weight sharing; see `conv2d`."""
    geometry = stride, padding, dilation, groups
    return _conv(3, input, weight, bias, *geometry, sharing, padding_mode, bias_sharing, coefficients)


def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
    *,
    sharing: Sharing | None = None,
    bias_sharing: Sharing | None = None,
    coefficients: Coefficients = None,
) -> Tensor:
    """Compute a 1-D transposed convolution with any degree of weight sharing; see `conv_transpose2d`."""
    geometry = stride, padding, output_padding, groups, dilation
    return _conv_transpose(1, input, weight, bias, *geometry, sharing, bias_sharing, coefficients)


def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
    *,
    sharing: Sharing | None = None,
    bias_sharing: Sharing | None = None,
    coefficients: Coefficients = None,
) -> Tensor:
    """Compute a 2-D transposed convolution with any degree of weight sharing over its input positions.

    This is the functional form of `weightshare.nn.ConvTranspose2d`. With the same `weight` and `sharing`,
    it is the adjoint of `conv2d`. `conv_transpose1d` and `conv_transpose3d` are the 1-D and 3-D forms.

    Args:
        input: Input [N, in, H, W] or [in, H, W].
        weight: Weight in the layout of the layer: for `Full` [in, out/groups, *kernel_size], for `Local`
            [P, *kernel_size, out/groups, in], for all other sharings [K, in, out/groups, *kernel_size].
        bias: Bias [out] if its sharing is `Full`, else [K_bias, out]; or None.
        stride: Distance in outputs between neighboring input positions, at least 1.
        padding: Number of outputs removed at both ends of each axis.
        output_padding: Number of outputs added at the end of each axis; must be below stride or dilation.
        groups: Number of channel groups; must divide both numbers of channels.
        dilation: Distance in outputs between neighboring taps, at least 1.
        sharing: Sharing of the kernels over the input positions. The default is `Full()`.
        bias_sharing: Sharing of the bias over the output positions. The default is `Full()`.
        coefficients: Coefficients, only for `LowRank`: [rank, H, W], or one tensor [rank, n] per axis.

    Returns:
        [N, out, H_out, W_out] or [out, H_out, W_out].

    Raises:
        ArgumentError: If an argument is invalid.
        SharingError: If the sharing does not fit the input, or the bias sharing does not fit the output.
        ShapeError: If a tensor has the wrong shape, device or dtype.

    Example:
        >>> import torch
        >>> from weightshare import Tiled
        >>> input, weight = torch.randn(2, 16, 4, 4), torch.randn(4, 16, 3, 3, 3)
        >>> conv_transpose2d(input, weight, stride=2, sharing=Tiled(2)).shape
        torch.Size([2, 3, 9, 9])
    """
    geometry = stride, padding, output_padding, groups, dilation
    return _conv_transpose(2, input, weight, bias, *geometry, sharing, bias_sharing, coefficients)


def conv_transpose3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
    *,
    sharing: Sharing | None = None,
    bias_sharing: Sharing | None = None,
    coefficients: Coefficients = None,
) -> Tensor:
    """Compute a 3-D transposed convolution with any degree of weight sharing; see `conv_transpose2d`."""
    geometry = stride, padding, output_padding, groups, dilation
    return _conv_transpose(3, input, weight, bias, *geometry, sharing, bias_sharing, coefficients)


for _name in __all__[:6]:  # torch.fx records the calls, because the checks need real inputs
    wrap(_name)


def _conv(
    ndim: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Size,
    padding: Padding,
    dilation: Size,
    groups: int,
    sharing: Sharing | None,
    padding_mode: PaddingModes,
    bias_sharing: Sharing | None,
    coefficients: Coefficients,
) -> Tensor:
    where = f"conv{ndim}d"
    sharing = check_sharing(where, "sharing", sharing, Full())
    default = sharing if sharing.one_hot else Full()
    bias_sharing = check_sharing(where, "bias_sharing", bias_sharing, default)
    mode = check_padding_mode(where, padding_mode, ndim)
    kernel_shape = _kernel_shape(where, ndim, weight, sharing)
    window = Window(kernel_shape[2:], stride, padding, dilation, ndim=ndim, where=where)
    check_largest(where, **vars(window))
    groups = _check_groups(where, groups, kernel_shape[0])
    x = _as_batch(where, ndim, input, weight, kernel_shape[1] * groups, sharing)
    size = tuple(x.shape[2:])
    out_size = window.output_size(size, where, mode)
    bias = _expand_bias(where, bias, bias_sharing, kernel_shape[0], out_size)
    if sharing == Full():
        padding = simplify_padding(padding, window.padding)
        if mode != "zeros" or has_pairs(padding):
            x, padding = pad_input(x, window, mode), 0
        result = _CONV[ndim](x, weight, None, window.stride, padding, window.dilation, groups)
        result = result if bias is None else result + bias
    else:
        _check_banks(where, weight, sharing, out_size, f" from input_size={size}", kernel_shape)
        backend = _choose(sharing, window, out_size, groups)
        terms = _combine(where, sharing, coefficients, out_size)
        result = convolve(x, weight, bias, backend, mode, terms)
    return result if input.dim() == ndim + 2 else result.squeeze(0)


def _conv_transpose(
    ndim: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Size,
    padding: Size,
    output_padding: Size,
    groups: int,
    dilation: Size,
    sharing: Sharing | None,
    bias_sharing: Sharing | None,
    coefficients: Coefficients,
) -> Tensor:
    where = f"conv_transpose{ndim}d"
    sharing = check_sharing(where, "sharing", sharing, Full())
    bias_sharing = check_sharing(where, "bias_sharing", bias_sharing, Full())
    kernel_shape = _kernel_shape(where, ndim, weight, sharing)
    window = Window(kernel_shape[2:], stride, padding, dilation, ndim=ndim, where=where)
    check_largest(where, **vars(window))
    extra = check_transposed(where, padding, "zeros", output_padding, window)
    check_even_padding(where, window.padding)
    padding = simplify_padding(padding, window.padding)
    groups = _check_groups(where, groups, kernel_shape[0])
    x = _as_batch(where, ndim, input, weight, kernel_shape[0], sharing)
    size, out_channels = tuple(x.shape[2:]), kernel_shape[1] * groups
    out_size = window.transposed_size(size, extra, where)
    bias = _expand_bias(where, bias, bias_sharing, out_channels, out_size)
    if sharing == Full():
        function = _CONV_TRANSPOSE[ndim]
        result = function(x, weight, None, window.stride, padding, extra, groups, window.dilation)
        result = result if bias is None else result + bias
    else:
        _check_banks(where, weight, sharing, size, ", the size of the input", kernel_shape)
        backend = _choose(sharing, window, size, groups)
        terms = _combine(where, sharing, coefficients, size)
        result = convolve_transposed(x, weight, bias, backend, out_channels, extra, terms)
    return result if input.dim() == ndim + 2 else result.squeeze(0)


def _kernel_shape(where: str, ndim: int, weight: Tensor, sharing: Sharing) -> tuple[int, ...]:
    """Return the shape of one bank of a weight."""
    if not isinstance(weight, Tensor):
        raise ArgumentError(where, "weight must be a torch.Tensor", type(weight).__name__)
    axes = ndim + (2 if sharing == Full() else 3)
    if weight.dim() != axes:
        expected = f"weight must have {axes} axes for sharing={sharing!r}"
        raise ShapeError(where, expected, str(list(weight.shape)))
    return tuple(layout_of(sharing).to_banks(weight).shape[1:])


def _check_groups(where: str, groups: object, channels: int) -> int:
    """Return `groups` as an int that divides the number of channels on the position side."""
    number = check_integer(where, "groups", groups, least=1)
    if channels % number:
        raise ArgumentError(where, f"groups must divide the {channels} channels of the weight", str(number))
    return number


def _as_batch(
    where: str, ndim: int, input: Tensor, weight: Tensor, channels: int, sharing: Sharing
) -> Tensor:
    """Return the checked input with a batch axis."""
    if not isinstance(input, Tensor):
        raise not_a_tensor(where, input)
    if input.dim() not in (ndim + 1, ndim + 2) or input.shape[-ndim - 1] != channels:
        raise wrong_shape(where, input.shape, channels, None, sharing, ndim)
    if sharing != Full():
        check_operands(where, input, weight, sharing)
    return input if input.dim() == ndim + 2 else input.unsqueeze(0)


def _check_banks(
    where: str,
    weight: Tensor,
    sharing: Sharing,
    size: tuple[int, ...],
    source: str,
    kernel_shape: tuple[int, ...],
) -> None:
    """Raise `ShapeError` unless the weight has the number of banks of the sharing for these positions."""
    sharing.check(size, f"{where}: sharing=", source)
    expected = layout_of(sharing).shape(sharing.banks(size), kernel_shape)
    if tuple(weight.shape) != expected:
        what = f"weight must be {list(expected)} for sharing={sharing!r} on {prod(size):,} positions"
        raise ShapeError(where, what, str(list(weight.shape)))


def _combine(
    where: str, sharing: Sharing, coefficients: Coefficients, size: tuple[int, ...]
) -> Tensor | None:
    """Return the coefficients [rank, *size] of `LowRank`; None for any other sharing."""
    if not isinstance(sharing, LowRank):
        if coefficients is not None:
            raise ArgumentError(where, "coefficients must be None unless sharing is LowRank", repr(sharing))
        return None
    whole = (sharing.rank, *size)
    terms = [coefficients] if isinstance(coefficients, Tensor) else list(coefficients or ())
    shapes = [tuple(term.shape) for term in terms]
    if shapes == [whole]:
        return terms[0]
    by_axis = [(sharing.rank, n) for n in size]
    if shapes != by_axis:
        sequence = ", ".join(str(list(shape)) for shape in by_axis)
        expected = f"coefficients must be {list(whole)} or a sequence of {sequence}"
        raise ShapeError(where, expected, ", ".join(str(list(shape)) for shape in shapes) or "none")
    return combine_coefficients(terms)


def _expand_bias(
    where: str, bias: Tensor | None, sharing: Sharing, channels: int, out_size: tuple[int, ...]
) -> Tensor | None:
    """Return the bias in a shape that broadcasts to [out, *out_size]."""
    if bias is None:
        return None
    sharing.check(out_size, f"{where}: bias_sharing=")
    expected = (channels,) if sharing == Full() else (sharing.banks(out_size), channels)
    if tuple(bias.shape) != expected:
        what = f"bias must be {list(expected)} for bias_sharing={sharing!r}"
        raise ShapeError(where, what, str(list(bias.shape)))
    if sharing == Full():
        return bias.view(-1, *(1,) * len(out_size))
    return _bank_values(sharing, out_size).expand(bias)
