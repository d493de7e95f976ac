"""`Mapped` layers: for each bank, matrix products with the gathered windows of its positions."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import torch
from torch import Tensor

from . import exportable
from .base import BLOCK, BilinearBackend, widen_dtype
from .layout import merge_positions, pack_channels, split_positions, to_format_of, view_windows
from .weight_layout import BANKS


@dataclass(frozen=True)
class GatheredPositions(BilinearBackend):
    """The backend of `Mapped`; weight [K, out, in/groups, *kernel_size].

    Args:
        labels: Bank of each position, in row-major order.
    """

    labels: tuple[int, ...]
    weight_layout = BANKS

    def output(self, input: Tensor, weight: Tensor) -> Tensor:
        x = pack_channels(input)
        result = x.new_empty(len(self.labels), self.groups, x.shape[0], weight.shape[1] // self.groups)
        view = self._view_windows(x)
        for bank, positions, index in self._split_blocks(x):
            products = torch.bmm(_to_rows(view[index]), self._to_matrix(weight[bank]))
            result[positions] = products.unflatten(1, (len(positions), x.shape[0])).transpose(0, 1)
        return merge_positions(result, self.output_size, like=input)

    def input_grad(self, grad: Tensor, weight: Tensor, input_shape: Sequence[int]) -> Tensor:
        g = split_positions(grad, self.groups)
        batch, channels, *padded = input_shape
        x = grad.new_zeros(batch, *padded, channels, dtype=widen_dtype(grad.dtype)).movedim(-1, 1)
        view = self._view_windows(x)
        taps = list(itertools.product(*map(range, self.window.kernel_size)))
        for bank, positions, index in self._split_blocks(x):
            products = torch.bmm(_to_rows(g[positions]), self._to_matrix(weight[bank]).mT)
            shape = (self.groups, len(positions), batch, len(taps), channels // self.groups)
            patches = products.view(shape).transpose(0, 1).to(x.dtype)
            for number, tap in enumerate(taps):  # with one tap, no two positions read the same input
                view[(..., *tap, slice(None))].index_put_(index, patches[..., number, :], accumulate=True)
        return to_format_of(grad, x.to(grad.dtype))

    def weight_grad(self, input: Tensor, grad: Tensor, weight_shape: Sequence[int]) -> Tensor:
        x, g = pack_channels(input), split_positions(grad, self.groups)
        view = self._view_windows(x)
        _, out, per_group, *kernel_size = weight_shape
        depth = prod(kernel_size) * per_group
        result = grad.new_zeros(
            weight_shape[0], self.groups, depth, out // self.groups, dtype=widen_dtype(grad.dtype)
        )
        for bank, positions, index in self._split_blocks(x):
            result[bank] += torch.bmm(_to_rows(view[index]).mT, _to_rows(g[positions]))
        by_tap = result.to(grad.dtype).unflatten(2, (-1, per_group)).permute(0, 1, 4, 3, 2)
        return by_tap.reshape(tuple(weight_shape))

    def portable_output(self, input: Tensor, weight: Tensor) -> Tensor:
        geometry, weight = (self.window, self.output_size, self.groups), self._expand_weight(weight, input)
        return exportable.compute_local_output(*geometry, input, weight)

    def portable_input_grad(self, grad: Tensor, weight: Tensor, input_shape: Sequence[int]) -> Tensor:
        geometry, weight = (self.window, self.output_size, self.groups), self._expand_weight(weight, grad)
        return exportable.compute_local_input_grad(*geometry, grad, weight, input_shape)

    def out_channels(self, weight_shape: Sequence[int]) -> int:
        return weight_shape[1]

    def _dump_fields(self) -> Sequence[Any]:
        return (self.labels,)

    @classmethod
    def _load_fields(cls, *fields: list[int]) -> Sequence[Any]:
        (labels,) = fields
        return (tuple(labels),)

    @cached_property
    def _positions_by_bank(self) -> list[Tensor]:
        """The positions of each bank as a tensor; cached because there can be many."""
        labels = torch.tensor(self.labels, device="cpu")
        return [(labels == bank).nonzero().flatten() for bank in range(max(self.labels) + 1)]

    def _split_blocks(self, x: Tensor) -> Iterator[tuple[int, Tensor, tuple[Tensor, ...]]]:
        """Yield blocks of positions of one bank: the bank, the positions, and their index along each axis."""
        size = max(1, BLOCK // max(1, x.shape[0] * self.window.taps * x.shape[1]))
        for bank, positions in enumerate(self._positions_by_bank):
            for block in positions.to(x.device).split(size):
                yield bank, block, torch.unravel_index(block, self.output_size)

    def _view_windows(self, x: Tensor) -> Tensor:
        return view_windows(x, self.window, self.groups, (0,) * self.window.ndim, self.output_size)

    def _to_matrix(self, weight: Tensor) -> Tensor:
        """Rearrange [out, in/groups, *kernel_size] to [groups, taps * in/groups, out/groups]."""
        return weight.flatten(2).unflatten(0, (self.groups, -1)).permute(0, 3, 2, 1).flatten(1, 2)

    def _expand_weight(self, weight: Tensor, input: Tensor) -> Tensor:
        """Expand [K, out, in/groups, *kernel_size] to [P, *kernel_size, in/groups, out]."""
        dtype = torch.uint8 if len(weight) <= 2**8 else torch.int32  # the exported program stores the labels
        labels = torch.tensor(self.labels, dtype=dtype, device=weight.device)
        return exportable.expand_banks(weight.movedim((2, 1), (-2, -1)), labels.long(), input)


def _to_rows(values: Tensor) -> Tensor:
    """Rearrange [n, groups, N, ...] to [groups, n * N, elements per position, group and image]."""
    return values.transpose(0, 1).flatten(3).flatten(1, 2)
