"""The three maps of layers in plain torch operators, for all devices and for exported programs.

Layers whose positions have their own kernels, or few positions per bank, are batched products of patches and
kernels; the patches of a few rows of positions exist at a time, in exported programs those of all positions.
Layers with many positions per bank of a regular grid are one convolution per bank, on a piece of the input.

Inputs are padded, and gradients of the input, too. Without an export, the functions run inside of operators
and have no derivatives of their own.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import grad as conv_grad

from ..geometry import Window
from .exportable import expand_banks, is_portable
from .layout import CONV, CONV_TRANSPOSE, slice_taps
from .pieces import Piece

#: Most elements of the patches that exist at a time, on the CPU (4 MiB in float32) and on other devices.
BLOCK, DEVICE_BLOCK = 2**20, 2**26
_CONV_WEIGHT: dict[int, Any] = {
    1: conv_grad.conv1d_weight,
    2: conv_grad.conv2d_weight,
    3: conv_grad.conv3d_weight,
}


def widen_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype in which long sums are accumulated: float32 for 16-bit types, else `dtype` itself."""
    return torch.promote_types(dtype, torch.float32) if dtype.itemsize < 4 else dtype


# -- one kernel per position ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Patches:
    """The maps as batched products of patches and kernels; weight [K, *kernel_size, in/groups, out].

    Args:
        window: Window of the layer.
        output_size: Number of positions per axis.
        groups: Number of channel groups.
        labels: Bank of each position in row-major order; None if each has its own.
    """

    window: Window
    output_size: tuple[int, ...]
    groups: int
    labels: Tensor | None

    def output(self, input: Tensor, weight: Tensor) -> Tensor:
        parts: list[Tensor] = []
        for rows, positions, size in self._split(input, input.shape[:2]):
            patches = self._stack(input[:, :, rows], size).permute(4, 2, 0, 1, 3).flatten(3)
            products = torch.matmul(patches, self._select(weight, positions, input))  # [P, g, N, out/g]
            parts.append(products.permute(2, 1, 3, 0).flatten(1, 2).unflatten(2, size))
        return torch.cat(parts, 2) if len(parts) > 1 else parts[0]

    def input_grad(self, grad: Tensor, weight: Tensor, input_shape: Sequence[int]) -> Tensor:
        shape, result = tuple(input_shape), None
        for rows, positions, size in self._split(grad, shape[:2]):
            g = grad.flatten(2)[..., positions].unflatten(1, (self.groups, -1)).permute(3, 1, 0, 2)
            patches = torch.matmul(g, self._select(weight, positions, grad).mT)  # [P, g, N, taps * in/g]
            patches = patches.unflatten(3, (self.window.taps, -1)).permute(3, 2, 1, 4, 0)
            patches = patches.flatten(2, 3).unflatten(3, size)  # [taps, N, in, *size]
            if is_portable():
                return _pad_to(_fold(patches, self.window), shape[2:])
            if result is None:
                result = grad.new_zeros(shape, dtype=widen_dtype(grad.dtype))
            for patch, inputs in zip(patches, slice_taps(self.window, size)):
                result[:, :, rows][(..., *inputs)].add_(patch)
        assert result is not None
        return result.to(grad.dtype)

    def weight_grad(self, input: Tensor, grad: Tensor, weight_shape: Sequence[int]) -> Tensor:
        dtype = grad.dtype if self.labels is None else widen_dtype(grad.dtype)
        result = grad.new_zeros(tuple(weight_shape), dtype=dtype)
        for rows, positions, size in self._split(input, input.shape[:2]):
            patches = self._stack(input[:, :, rows], size).permute(4, 2, 1, 3, 0).flatten(2, 3)
            g = grad.flatten(2)[..., positions].unflatten(1, (self.groups, -1)).permute(3, 1, 0, 2)
            products = torch.matmul(patches, g).transpose(1, 2)  # [P, taps * in/g, g, out/g]
            products = products.reshape(len(products), *weight_shape[1:])
            if self.labels is None:
                result[positions] = products
            else:
                result.index_add_(0, self.labels[positions].long().to(grad.device), products.to(dtype))
        return result.to(grad.dtype)

    def _split(self, like: Tensor, images: Sequence[int]) -> Iterator[tuple[slice, slice, tuple[int, ...]]]:
        """Split the positions along the first axis into blocks of patches.

        Yields:
            The rows of the input that the block reads, the indices of its positions, and its size.
        """
        n, *others = self.output_size
        inner, most = prod(others), BLOCK if like.device.type == "cpu" else DEVICE_BLOCK
        step = n if is_portable() else max(1, most // max(1, prod(images) * self.window.taps * inner))
        stride, extent = self.window.stride[0], self.window.extent[0]
        for first in range(0, n, step):
            last = min(first + step, n)
            rows = slice(first * stride, (last - 1) * stride + extent)
            yield rows, slice(first * inner, last * inner), (last - first, *others)

    def _stack(self, input: Tensor, size: Sequence[int]) -> Tensor:
        """Return the patches [N, taps, groups, in/groups, P] of a grid of positions."""
        taps = [input[(..., *inputs)] for inputs in slice_taps(self.window, size)]
        return torch.stack(taps, 1).flatten(3).unflatten(2, (self.groups, -1))

    def _select(self, weight: Tensor, positions: slice, like: Tensor) -> Tensor:
        """Return the kernels of some positions as matrices [P, groups, taps * in/groups, out/groups]."""
        if self.labels is None:
            kernels = weight[positions]
        else:
            kernels = expand_banks(weight, self.labels[positions].to(weight.device), like)
        return kernels.flatten(1, -2).unflatten(2, (self.groups, -1)).transpose(1, 2)


def _fold(patches: Tensor, window: Window) -> Tensor:
    """Add patches [taps, N, in, *size] to their inputs: a transposed convolution with ones."""
    images = patches.movedim(0, 2).flatten(0, 1)
    one_hot = torch.eye(window.taps, dtype=patches.dtype, device=patches.device)
    one_hot = one_hot.view(window.taps, 1, *window.kernel_size)
    conv = CONV_TRANSPOSE[window.ndim]
    result = conv(images, one_hot, None, window.stride, 0, 0, 1, window.dilation)
    return result.squeeze(1).unflatten(0, patches.shape[1:3])


# -- one convolution per bank -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Convolutions:
    """The maps as one convolution per bank; weight [K, out, in/groups, *kernel_size].

    Args:
        window: Window of the layer.
        groups: Number of channel groups.
        pieces: What each bank reads and writes.
        parts: For each axis, the ranges of output indices that the banks cover.
    """

    window: Window
    groups: int
    pieces: Sequence[Piece]
    parts: tuple[tuple[range, ...], ...]

    def output(self, input: Tensor, weight: Tensor) -> Tensor:
        conv, dilation = CONV[self.window.ndim], self.window.dilation
        results = [
            conv(input[(..., *piece.inputs)], bank, None, piece.stride, 0, dilation, self.groups)
            for piece, bank in zip(self.pieces, weight)
        ]
        for axis, ranges in reversed(list(enumerate(self.parts, 2))):
            n = len(ranges)
            results = [_join(results[first : first + n], ranges, axis) for first in range(0, len(results), n)]
        return results[0]

    def input_grad(self, grad: Tensor, weight: Tensor, input_shape: Sequence[int]) -> Tensor:
        conv, dilation, size = CONV_TRANSPOSE[self.window.ndim], self.window.dilation, tuple(input_shape[2:])
        result = grad.new_zeros((), dtype=widen_dtype(grad.dtype))
        if not is_portable():
            result = result.new_zeros(tuple(input_shape))
        for piece, bank in zip(self.pieces, weight):
            part = conv(grad[(..., *piece.outputs)], bank, None, piece.stride, 0, 0, self.groups, dilation)
            if is_portable():
                result = result + _pad_to(part, size, [inputs.start for inputs in piece.inputs])
            else:
                corner = [slice(i.start, i.start + n) for i, n in zip(piece.inputs, part.shape[2:])]
                result[(..., *corner)].add_(part)
        return result.to(grad.dtype)

    def weight_grad(self, input: Tensor, grad: Tensor, weight_shape: Sequence[int]) -> Tensor:
        conv, dilation, shape = _CONV_WEIGHT[self.window.ndim], self.window.dilation, tuple(weight_shape[1:])
        banks = [
            conv(
                input[(..., *piece.inputs)],
                shape,
                grad[(..., *piece.outputs)],
                piece.stride,
                0,
                dilation,
                self.groups,
            )
            for piece in self.pieces
        ]
        return torch.stack(banks)


def _pad_to(part: Tensor, size: Sequence[int], start: Sequence[int] | None = None) -> Tensor:
    """Pad a part with zeros to a spatial size, with its first element at index `start` (by default 0)."""
    begin = [0] * len(size) if start is None else start
    pairs = [(b, n - b - m) for b, n, m in zip(begin, size, part.shape[2:])]
    return F.pad(part, [n for pair in reversed(pairs) for n in pair])


def _join(parts: Sequence[Tensor], ranges: Sequence[range], axis: int) -> Tensor:
    """Join the parts of an axis in the order of their indices: concatenate blocks, interleave phases."""
    if len(parts) == 1:
        return parts[0]
    if ranges[0].step == 1:
        return torch.cat(list(parts), axis)
    longest = max(part.shape[axis] for part in parts)
    padding = (0, 0) * (parts[0].dim() - axis - 1)
    even = [F.pad(part, (*padding, 0, longest - part.shape[axis])) for part in parts]
    return torch.stack(even, axis + 1).flatten(axis, axis + 1).narrow(axis, 0, sum(map(len, ranges)))
