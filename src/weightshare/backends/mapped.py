"""Any map of labels: for each bank, one matrix product over the gathered windows of its positions."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import torch
from torch import Tensor

from . import exportable
from .base import BLOCK, BilinearBackend, summing_dtype
from .layout import batch_first, by_channel, in_format_of, positions_first, windows
from .weight_layout import BANKS


@dataclass(frozen=True)
class GatheredPositions(BilinearBackend):
    """Weight [K, out, in/groups, *kernel_size].

    Args:
        labels: The bank of every position, in row-major order.
    """

    labels: tuple[int, ...]
    weight_layout = BANKS

    def output(self, input: Tensor, weight: Tensor) -> Tensor:
        x = by_channel(input)
        result = x.new_empty(len(self.labels), self.groups, x.shape[0], weight.shape[1] // self.groups)
        view = self._windows(x)
        for bank, numbers, at in self._blocks(x):
            products = torch.bmm(_rows(view[at]), self._matrix(weight[bank]))
            result[numbers] = products.unflatten(1, (len(numbers), x.shape[0])).transpose(0, 1)
        return batch_first(result, self.output_size, like=input)

    def input_grad(self, grad: Tensor, weight: Tensor, input_shape: Sequence[int]) -> Tensor:
        g = positions_first(grad, self.groups)
        batch, channels, *padded = input_shape
        x = grad.new_zeros(batch, *padded, channels, dtype=summing_dtype(grad.dtype)).movedim(-1, 1)
        view = self._windows(x)
        taps = list(itertools.product(*map(range, self.window.kernel_size)))
        for bank, numbers, at in self._blocks(x):
            products = torch.bmm(_rows(g[numbers]), self._matrix(weight[bank]).mT)
            patches = products.view(
                self.groups, len(numbers), batch, len(taps), channels // self.groups
            ).transpose(0, 1)
            for number, tap in enumerate(taps):  # under one tap no two positions see the same input
                view[(..., *tap, slice(None))].index_put_(
                    at, patches[..., number, :].to(x.dtype), accumulate=True
                )
        return in_format_of(grad, x.to(grad.dtype))

    def weight_grad(self, input: Tensor, grad: Tensor, weight_shape: Sequence[int]) -> Tensor:
        x, g = by_channel(input), positions_first(grad, self.groups)
        view = self._windows(x)
        _, out, per_group, *kernel_size = weight_shape
        depth = prod(kernel_size) * per_group
        result = grad.new_zeros(
            weight_shape[0], self.groups, depth, out // self.groups, dtype=summing_dtype(grad.dtype)
        )
        for bank, numbers, at in self._blocks(x):
            result[bank] += torch.bmm(_rows(view[at]).mT, _rows(g[numbers]))
        by_tap = result.to(grad.dtype).unflatten(2, (-1, per_group)).permute(0, 1, 4, 3, 2)
        return by_tap.reshape(tuple(weight_shape))

    def _windows(self, x: Tensor) -> Tensor:
        return windows(x, self.window, self.groups, (0,) * self.window.ndim, self.output_size)

    def portable_output(self, input: Tensor, weight: Tensor) -> Tensor:
        return exportable.local_output(self, input, self._by_position(weight, input))

    def portable_transposed(self, input: Tensor, weight: Tensor, padded_shape: Sequence[int]) -> Tensor:
        return exportable.local_transposed(self, input, self._by_position(weight, input), padded_shape)

    def _by_position(self, weight: Tensor, input: Tensor) -> Tensor:
        """[K, out, in/groups, *kernel_size] -> [P, *kernel_size, in/groups, out], all positions' kernels."""
        dtype = torch.uint8 if len(weight) <= 2**8 else torch.int32  # a constant of the exported program
        labels = torch.tensor(self.labels, dtype=dtype, device=weight.device)
        return exportable.spread(weight.movedim((2, 1), (-2, -1)), labels.long(), input)

    def out_channels(self, weight_shape: Sequence[int]) -> int:
        return weight_shape[1]

    def _further(self) -> Sequence[Any]:
        return (self.labels,)

    @classmethod
    def _fields(cls, labels: list[int]) -> Sequence[Any]:  # type: ignore[override]
        return (tuple(labels),)

    def _blocks(self, x: Tensor) -> Iterator[tuple[int, Tensor, tuple[Tensor, ...]]]:
        """Blocks of the positions of every bank: as numbers, and as index tensors, one an axis."""
        size = max(1, BLOCK // max(1, x.shape[0] * self.window.taps * x.shape[1]))
        for bank, numbers in enumerate(self._numbers):
            for block in numbers.to(x.device).split(size):
                yield bank, block, torch.unravel_index(block, self.output_size)

    @cached_property
    def _numbers(self) -> list[Tensor]:
        """The positions of every bank as a tensor, made once: there may be many."""
        labels = torch.tensor(self.labels, device="cpu")
        return [(labels == bank).nonzero().flatten() for bank in range(max(self.labels) + 1)]

    def _matrix(self, weight: Tensor) -> Tensor:
        """[out, in/groups, *kernel_size] -> [groups, taps * in/groups, out/groups]."""
        return weight.flatten(2).unflatten(0, (self.groups, -1)).permute(0, 3, 2, 1).flatten(1, 2)


def _rows(values: Tensor) -> Tensor:
    """[n, groups, N, ...] -> [groups, n * N, numbers of one position and image]."""
    return values.transpose(0, 1).flatten(3).flatten(1, 2)
