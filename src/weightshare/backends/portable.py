"""The three maps of layers in plain torch operators, for all devices and for exported programs.

`Patches` multiplies patches and kernels: position by position, or bank by bank if the banks have about as
many positions each. One block of patches exists at a time, except that exported programs hold all patches at
once. On the CPU and in exported programs, `Convolutions` computes layers with many positions per bank of a
regular grid, with one convolution per bank on a piece of the input.

Inputs are already padded, and so are gradients of the input. Except in exports, the functions run inside
operators, which define the derivatives.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..geometry import Window
from .exportable import expand_banks, is_portable
from .layout import CONV, CONV_TRANSPOSE, slice_taps
from .pieces import Piece

#: Most elements of the patches that exist at a time, on the CPU (4 MiB in float32) and on other devices.
BLOCK, DEVICE_BLOCK = 2**20, 2**26
#: Largest ratio by which the number of positions may grow if all banks are padded to the size of the largest.
MOST_PADDED = 2


def widen_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype in which long sums are accumulated: float32 for 16-bit types, else `dtype` itself."""
    return torch.promote_types(dtype, torch.float32) if dtype.itemsize < 4 else dtype


# -- products of patches and kernels ----------------------------------------------------------------------


@dataclass(frozen=True)
class Patches:
    """The maps as batched products of patches and kernels; weight [K, *kernel_size, in/groups, out].

    Args:
        window: Window of the layer.
        output_size: Number of positions per axis.
        groups: Number of channel groups.
        labels: Bank of each position in row-major order; None if each has its own.
        banks: The positions of each bank; None in exported programs and if each position has its own bank.
    """

    window: Window
    output_size: tuple[int, ...]
    groups: int
    labels: tuple[int, ...] | None
    banks: "Banks | None"

    def output(self, input: Tensor, weight: Tensor) -> Tensor:
        parts: list[Tensor] = []
        for block in self._split(input, *input.shape[:2]):
            patches = self._to_banks(block, self._gather(input[block.images, :, block.rows], block.size))
            products = torch.matmul(patches.transpose(1, 2), self._select(block, weight, input))
            rows = self._to_positions(block, products.transpose(1, 2).flatten(2))  # [P, N, out]
            parts.append(rows.permute(1, 2, 0).unflatten(2, block.size))
        return torch.cat(parts, self._split_axis) if len(parts) > 1 else parts[0]

    def input_grad(self, grad: Tensor, weight: Tensor, input_shape: Sequence[int]) -> Tensor:
        shape = tuple(input_shape)
        dtype, result = widen_dtype(grad.dtype), None
        for block in self._split(grad, *shape[:2]):
            g = self._to_banks(block, self._take_rows(block, grad)).transpose(1, 2)
            kernels = self._select(block, weight, grad).transpose(-2, -1)
            products = torch.matmul(g, kernels)  # [K, g, n * N, taps * in/g]
            patches = self._to_positions(block, products.transpose(1, 2)).unflatten(3, (self.window.taps, -1))
            part = _fold(patches.to(dtype), self.window, block.size)
            if len(block.positions) == prod(self.output_size) and block.images == slice(None):
                return _pad_to(part, shape[2:]).to(grad.dtype)
            if result is None:
                result = grad.new_zeros(shape, dtype=dtype)
            corner = [slice(0, n) for n in part.shape[2:]]
            result[block.images, :, block.rows][(..., *corner)].add_(part)
        assert result is not None
        return result.to(grad.dtype)

    def weight_grad(self, input: Tensor, grad: Tensor, weight_shape: Sequence[int]) -> Tensor:
        dtype = grad.dtype if self.labels is None else widen_dtype(grad.dtype)
        result = grad.new_zeros(tuple(weight_shape), dtype=dtype)
        for block in self._split(input, *input.shape[:2]):
            patches = self._to_banks(block, self._gather(input[block.images, :, block.rows], block.size))
            g = self._to_banks(block, self._take_rows(block, grad), fill=0)
            products = torch.matmul(patches.permute(0, 2, 3, 1), g.transpose(1, 2)).transpose(1, 2)
            products = products.reshape(len(products), *weight_shape[1:])
            if self.labels is None:
                result[block.positions.start : block.positions.stop] = products
            elif block.expands:
                result.index_add_(0, self._select_labels(block, grad.device).long(), products.to(dtype))
            else:
                result += products
        return result.to(grad.dtype)

    def _split(self, like: Tensor, batch: int, channels: int) -> Iterator["Block"]:
        """Split the work into blocks of patches: by images if positions are sorted by bank, else by rows."""
        n, *others = self.output_size
        most = BLOCK if like.device.type == "cpu" else DEVICE_BLOCK
        inner, each, everything = prod(others), channels * self.window.taps, slice(None)
        if is_portable() or batch * each * n * inner <= most:
            expands = self.banks is None or self.banks.index is None
            yield Block(everything, everything, range(n * inner), self.output_size, expands)
        elif self.banks is not None and self.banks.index is not None:
            step = max(1, most // (each * n * inner))
            for first in range(0, batch, step):
                yield Block(slice(first, first + step), everything, range(n * inner), self.output_size, False)
        else:
            step = max(1, most // (batch * each * inner))
            stride, extent = self.window.stride[0], self.window.extent[0]
            for first in range(0, n, step):
                last = min(first + step, n)
                rows = slice(first * stride, (last - 1) * stride + extent)
                positions = range(first * inner, last * inner)
                yield Block(everything, rows, positions, (last - first, *others), True)

    @property
    def _split_axis(self) -> int:
        """Axis of the outputs along which blocks are joined: images or rows."""
        return 2 if self.banks is None or self.banks.index is None else 0

    def _gather(self, input: Tensor, size: Sequence[int]) -> Tensor:
        """Return the patches [P, N, groups, taps * in/groups] of a grid of positions."""
        if is_portable():  # exporters do not support overlapping views
            taps = [input[(..., *inputs)] for inputs in slice_taps(self.window, size)]
            stack = torch.stack(taps).unflatten(2, (self.groups, -1)).flatten(4)  # [taps, N, g, in/g, P]
            return stack.permute(4, 1, 2, 0, 3).flatten(3)
        x = input.contiguous()
        image, channel, *steps = x.stride()
        per_group = x.shape[1] // self.groups
        between = [step * s for step, s in zip(steps, self.window.stride)]
        taps = [step * d for step, d in zip(steps, self.window.dilation)]
        windows = x.as_strided(
            (*size, len(x), self.groups, *self.window.kernel_size, per_group),
            (*between, image, per_group * channel, *taps, channel),
        )
        return windows.reshape(prod(size), len(x), self.groups, self.window.taps * per_group)

    def _take_rows(self, block: "Block", grad: Tensor) -> Tensor:
        """Return the gradients of a block as [P, N, groups, out/groups]."""
        positions = slice(block.positions.start, block.positions.stop)
        rows = grad[block.images].flatten(2)[..., positions]
        return rows.unflatten(1, (self.groups, -1)).permute(3, 0, 1, 2)

    def _select(self, block: "Block", weight: Tensor, like: Tensor) -> Tensor:
        """Return the kernels of a block as matrices [K or P, groups, taps * in/groups, out/groups]."""
        if self.labels is not None and block.expands:
            weight = expand_banks(weight, self._select_labels(block, weight.device), like)
        elif len(block.positions) < len(weight):
            weight = weight[block.positions.start : block.positions.stop]
        return weight.flatten(1, -2).unflatten(2, (self.groups, -1)).transpose(1, 2)

    def _select_labels(self, block: "Block", device: torch.device) -> Tensor:
        assert self.labels is not None
        dtype = torch.uint8 if max(self.labels) < 2**8 else torch.int32  # exported programs store the labels
        labels = self.labels[block.positions.start : block.positions.stop]
        return torch.tensor(labels, dtype=dtype, device=device)

    def _to_banks(self, block: "Block", rows: Tensor, fill: int | None = None) -> Tensor:
        """Sort [P, N, ...] by bank into [K, n * N, ...]: n positions per bank, some repeated or filled."""
        if block.expands:
            return rows
        assert self.banks is not None
        assert self.banks.index is not None
        sorted = rows[self.banks.get("index", rows.device)]
        if fill is not None and self.banks.is_padded:
            sorted[self.banks.get("repeated", rows.device)] = fill
        return sorted.flatten(1, 2)

    def _to_positions(self, block: "Block", rows: Tensor) -> Tensor:
        """Undo `_to_banks`."""
        if block.expands:
            return rows
        assert self.banks is not None
        assert self.banks.index is not None
        n = self.banks.index.shape[1]
        return rows.unflatten(1, (n, -1)).flatten(0, 1)[self.banks.get("slots", rows.device)]


@dataclass(frozen=True)
class Block:
    """A block of patches.

    Args:
        images: Images of the block.
        rows: Rows of the input that it reads.
        positions: Indices of its positions.
        size: Number of its positions per axis.
        expands: Whether each position is multiplied by its own kernel.
    """

    images: slice
    rows: slice
    positions: range
    size: tuple[int, ...]
    expands: bool


class Banks:
    """The bank of each position, and the positions of each bank.

    Args:
        labels: Bank of each position, in row-major order.
    """

    def __init__(self, labels: Sequence[int]):
        banks, counts = np.array(labels), np.bincount(labels)
        total, n = len(labels), counts.max()
        self.is_padded = len(counts) * n > total
        self._tensors: dict[tuple[str, torch.device], Tensor] = {}
        #: The positions [K, n] of each bank, the last one repeated; None if banks differ too much in size.
        self.index: NDArray[Any] | None = None
        if len(counts) * n <= MOST_PADDED * total:
            order = np.argsort(banks, kind="stable")
            starts = np.cumsum(counts) - counts
            self.index = order[starts[:, None] + np.minimum(np.arange(n), counts[:, None] - 1)]
            self.repeated = np.arange(n) >= counts[:, None]
            #: For each position, its place in the flattened index.
            self.slots = np.empty(total, np.int64)
            self.slots[order] = banks[order] * n + np.arange(total) - starts[banks[order]]

    def get(self, name: str, device: torch.device) -> Tensor:
        """Return an array as a tensor on a device, which is copied there once."""
        if (name, device) not in self._tensors:
            with torch.inference_mode(False):
                self._tensors[name, device] = torch.tensor(getattr(self, name), device=device)
        return self._tensors[name, device]


def _fold(patches: Tensor, window: Window, size: Sequence[int]) -> Tensor:
    """Add patches [P, N, groups, taps, in/groups] to their inputs [N, in, *span]."""
    ndim, (_, batch, groups, _, per_group) = window.ndim, patches.shape
    span, kernel = window.span(size), window.kernel_size
    # F.fold has two axes: a 1-D layer gets another one, and a 3-D layer folds one plane of taps at a time
    size, kernel = (1, *size)[-max(ndim, 2) :], (1, *kernel)[-max(ndim, 2) :]
    stride, dilation = (1, *window.stride)[-2:], (1, *window.dilation)[-2:]
    plane = (1, *span)[-2:]
    images = patches.view(*size, -1, groups, *kernel, per_group)  # -1: exporters keep any batch size
    if ndim < 3:
        columns = images.permute(2, 3, 6, 4, 5, 0, 1).reshape(
            -1, groups * per_group * prod(kernel), prod(size)
        )
        return F.fold(columns, plane, kernel, dilation, 0, stride).view(-1, groups * per_group, *span)
    images = images.permute(5, 3, 0, 4, 8, 6, 7, 1, 2)  # [kd, N, D, groups, in/groups, kh, kw, H, W]
    result = patches.new_zeros(batch, groups * per_group, *span)
    for tap, part in enumerate(images):
        columns = part.reshape(batch * size[0], groups * per_group * prod(kernel[1:]), prod(size[1:]))
        planes = F.fold(columns, plane, kernel[1:], dilation, 0, stride)
        first, step = tap * window.dilation[0], window.stride[0]
        planes = planes.unflatten(0, (batch, size[0])).transpose(1, 2)
        result[:, :, first : first + (size[0] - 1) * step + 1 : step] += planes
    return result


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
        zeros, result = [0] * self.window.ndim, input.new_empty(tuple(weight_shape))
        for piece, bank in zip(self.pieces, result):
            _, gradient, _ = torch.ops.aten.convolution_backward(
                grad[(..., *piece.outputs)],
                input[(..., *piece.inputs)],
                bank,
                None,
                piece.stride,
                zeros,
                self.window.dilation,
                False,
                zeros,
                self.groups,
                [False, True, False],
            )
            bank.copy_(gradient)
        return result


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
