"""Compute a layer with its backend: pad the input, call the backend, add the bias."""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.jit import is_tracing  # pyright: ignore[reportPrivateImportUsage]

from ..geometry import PaddingModes, Window, split_padding_mode
from .base import Backend
from .operators import ANY_BATCH, get_autocast_dtype

#: The padding modes of `torch.nn.Conv2d`.
PaddingMode = Literal["zeros", "reflect", "replicate", "circular"]


def pad_input(input: Tensor, window: Window, padding_mode: PaddingModes) -> Tensor:
    """Pad [N, C, *size] to [N, C, *padded] in a padding mode of torch, or in one per axis."""
    return pad_axes(input, window.padding, padding_mode)


def pad_axes(input: Tensor, padding: Sequence[tuple[int, int]], padding_mode: PaddingModes) -> Tensor:
    """Pad each spatial axis of [N, C, *size] by a pair (before, after).

    Padding one axis commutes with padding another, so the order of the modes does not matter.
    """
    modes = split_padding_mode(padding_mode, len(padding))
    for mode in dict.fromkeys(modes):
        pairs = [pair if of_axis == mode else (0, 0) for pair, of_axis in zip(padding, modes)]
        if any(map(any, pairs)):
            amounts = [n for pair in reversed(pairs) for n in pair]
            input = F.pad(input, amounts, mode="constant" if mode == "zeros" else mode)
    return input


def convolve(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    backend: Backend,
    padding_mode: PaddingModes = "zeros",
    coefficients: Tensor | None = None,
) -> Tensor:
    """Compute a layer of any sharing except `Full`.

    Args:
        input: Input [N, in, *size].
        weight: Weight in the backend's layout.
        bias: A tensor that broadcasts to [N, out, *output_size], or None.
        backend: The backend of the layer.
        padding_mode: Padding mode of torch, such as "reflect", or one per axis.
        coefficients: Coefficients [rank, *output_size], only for `LowRank`.
    """
    x = input
    if not backend.pads_zeros or padding_mode != "zeros":
        x, backend = pad_input(input, backend.window, padding_mode), backend.without_padding
    x, weight = _autocast(x, weight)
    return _add_bias(_match_format(input, backend(x, weight, coefficients)), bias)


def convolve_transposed(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    backend: Backend,
    out_channels: int,
    output_padding: Sequence[int],
    coefficients: Tensor | None = None,
) -> Tensor:
    """Compute a transposed layer of any sharing except `Full` with the backend of its adjoint.

    Args:
        input: Input [N, in, *size].
        weight: Weight in the backend's layout.
        bias: A tensor that broadcasts to [N, out, *output_size], or None.
        backend: The backend of the adjoint convolution; its positions are those of the input.
        out_channels: Number of output channels.
        output_padding: Number of outputs added at the end of each axis.
        coefficients: Coefficients [rank, *size], only for `LowRank`.
    """
    window, (x, weight) = backend.window, _autocast(input, weight)
    padded = [n + extra for n, extra in zip(window.span(backend.output_size), output_padding)]
    batch = ANY_BATCH if is_tracing() else input.shape[0]
    if backend.pads_zeros:
        padded = [n - sum(pair) for n, pair in zip(padded, window.padding)]
    result = backend.apply_adjoint(x, weight, (batch, out_channels, *padded), coefficients)
    if any(map(any, window.padding)) and not backend.pads_zeros:
        result = F.pad(result, [-n for pair in reversed(window.padding) for n in pair])
    return _add_bias(_match_format(input, result), bias)


def _add_bias(result: Tensor, bias: Tensor | None) -> Tensor:
    if bias is None:
        return result
    return result + (bias if bias.dtype == result.dtype else bias.to(result.dtype))


def _autocast(input: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return both tensors, cast to the dtype of autocast if it is enabled."""
    dtype = get_autocast_dtype(input.device.type)
    if dtype is None or input.dtype == torch.float64:
        return input, weight
    return input.to(dtype), weight.to(dtype)


def _match_format(input: Tensor, output: Tensor) -> Tensor:
    """Return the output in channels_last if the input is, since padding and low rank may lose the format.

    The functions in `layout` would do the same, but use operators that `torch.func.vmap` does not support.
    """
    if input.is_contiguous() or not input.movedim(1, -1).is_contiguous():
        return output
    return output.movedim(1, -1).contiguous().movedim(-1, 1)
