"""Nothing shared: one batched matrix product for each row of positions.

With the channels of the input last and the weight [P, *kernel_size, in/groups, out], the windows of a row
of positions are an overlapping view of the input, and the row's outputs a batch of small products, one for
each position. Where the taps of the last axis make a long run in memory, the product reads the view as it is
and adds up over the other axes of the kernel; elsewhere a block of the row's windows is copied first.
"""

import itertools
from collections.abc import Iterator, Sequence
from math import prod

import torch
from torch import Tensor

from .base import BLOCK, Bilinear, summing_dtype
from .layout import (
    batch_first,
    channels_first,
    channels_last,
    group_weights,
    positions_first,
    ungroup_weights,
    windows,
)

#: Shortest run of numbers (taps of the last axis x channels) that a product reads well without a copy.
LONG_RUN = 40


class LocalRows(Bilinear):
    """Weight [P, *kernel_size, in/groups, out]."""

    def output(self, input: Tensor, weight: Tensor) -> Tensor:
        x, groups = channels_last(input), self.groups
        batch, out = x.shape[0], weight.shape[-1]
        result = x.new_empty(*self.output_size, groups, batch, out // groups)
        long_run = groups == 1 and self.window.dilation[-1] == 1 and self._run(weight) >= LONG_RUN
        in_place = long_run and summing_dtype(x.dtype) == x.dtype
        for row, view, at in self._rows(x, whole=in_place):
            target = result[row].flatten(0, 1)
            if in_place:
                _sum_over_leading_taps(view.squeeze(1), weight[at], target)
            else:
                torch.bmm(_matrices(view), self._weights(weight[at]), out=target)
        return batch_first(result)

    def input_grad(self, grad: Tensor, weight: Tensor, input_shape: Sequence[int]) -> Tensor:
        g = positions_first(grad, self.groups)
        batch, channels, *padded = input_shape
        x = grad.new_zeros(batch, *padded, channels, dtype=summing_dtype(grad.dtype))
        for row, view, at in self._rows(x):
            patches = torch.bmm(g[row].flatten(0, 1), self._weights(weight[at]).mT).view(view.shape)
            for tap in range(self.window.kernel_size[-1]):
                view[..., tap, :].add_(patches[..., tap, :])  # one tap of the last axis: nothing overlaps
        return channels_first(x.to(grad.dtype))

    def weight_grad(self, input: Tensor, grad: Tensor, weight_shape: Sequence[int]) -> Tensor:
        x, g = channels_last(input), positions_first(grad, self.groups)
        weight = grad.new_empty(tuple(weight_shape))
        for row, view, at in self._rows(x):
            products = torch.bmm(_matrices(view).mT, g[row].flatten(0, 1))
            weight[at] = ungroup_weights(products, self.groups, weight[at].shape)
        return weight

    def _rows(self, x: Tensor, whole: bool = False) -> Iterator[tuple[tuple, Tensor, slice]]:
        """Blocks of rows of positions, or whole rows where no windows are copied.

        Yields the index into the output, the view of the windows, and the index into the weight.
        """
        *leading, width = self.output_size
        patch = max(1, x.shape[0] * prod(self.window.kernel_size) * x.shape[-1])
        block = width if whole else max(1, min(width, BLOCK // patch))
        for number, lead in enumerate(itertools.product(*map(range, leading))):
            for first in range(0, width, block):
                count = min(block, width - first)
                view = windows(x, self.window, self.groups, (*lead, first), (1,) * len(lead) + (count,))
                at = number * width + first
                yield (
                    (*lead, slice(first, first + count)),
                    view[(0,) * len(lead)],
                    slice(at, at + count),
                )

    def _weights(self, weight: Tensor) -> Tensor:
        return group_weights(weight.flatten(1, -3), self.groups)

    def _run(self, weight: Tensor) -> int:
        return self.window.kernel_size[-1] * weight.shape[-2]


def _matrices(view: Tensor) -> Tensor:
    """[n, groups, N, *kernel_size, in/groups] -> a copy [n * groups, N, taps * in/groups]."""
    return view.flatten(3).flatten(0, 1)


def _sum_over_leading_taps(view: Tensor, weight: Tensor, target: Tensor) -> None:
    """[n, N, *kernel_size, in] times [n, *kernel_size, in, out] into [n, N, out]; the view is not copied."""
    leading = view.shape[2:-2]
    for number, tap in enumerate(itertools.product(*map(range, leading))):
        index = (slice(None), *tap)
        run = view[(slice(None), *index)].flatten(2)
        torch.baddbmm(target, run, weight[index].flatten(1, 2), beta=min(number, 1), out=target)
