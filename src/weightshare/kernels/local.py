"""Nothing shared: batches of small matrix products, one for each position.

Block by block, the windows of some positions are copied in long runs from a re-laid input into one buffer,
small enough to stay in cache, and multiplied with the weights, read once and where they lie. Forward
multiplies [N, depth] by [depth, out]; the gradients have the batch innermost, whose runs are longer still.
"""

import itertools
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from . import memory, portable
from .base import Bilinear, summing_dtype
from .layout import (
    batch_first,
    batch_last,
    boxes,
    channels_last,
    from_batch_last,
    group_weights,
    positions_first,
    transpose,
    ungroup_weights,
    windows,
    windows_batch_last,
)
from .products import FastProducts

#: Elements of the buffer of windows: 4 MiB in float32.
BUFFER = 2**20


class LocalRows(Bilinear):
    """Weight [P, *kernel_size, in/groups, out]."""

    def output(self, input: Tensor, weight: Tensor) -> Tensor:
        x, (batch, channels) = channels_last(input), input.shape[:2]
        result = x.new_empty(len(weight), self.groups, batch, weight.shape[-1] // self.groups)
        with FastProducts(x):
            for buffer, start, counts, at in self._blocks(x, batch, channels):
                view = windows(x, self.window, self.groups, start, counts)
                buffer.view(view.shape).copy_(view)
                target, right = result[at].flatten(0, 1), self._weights(weight[at])
                torch.bmm(buffer.view(len(target), batch, right.shape[1]), right, out=target)
        return batch_first(result, self.output_size, like=input)

    def input_grad(self, grad: Tensor, weight: Tensor, input_shape: Sequence[int]) -> Tensor:
        batch, channels, *padded = input_shape
        g = positions_first(grad, self.groups)
        g = transpose(g.flatten(0, 1)).unflatten(0, g.shape[:2])
        x = grad.new_zeros(*padded, channels, batch, dtype=summing_dtype(grad.dtype))
        with FastProducts(grad):
            for buffer, start, counts, at in self._blocks(grad, batch, channels):
                left, right = self._weights(weight[at]), g[at].flatten(0, 1)
                if batch == 1:  # the same numbers in the same order
                    torch.bmm(right.mT, left.mT, out=buffer.view(len(left), 1, left.shape[1]))
                else:
                    torch.bmm(left, right, out=buffer.view(len(left), left.shape[1], batch))
                view = windows_batch_last(x, self.window, self.groups, start, counts)
                _add_windows(view, buffer.view(view.shape), counts)
        return from_batch_last(x.to(grad.dtype), like=grad)

    def weight_grad(self, input: Tensor, grad: Tensor, weight_shape: Sequence[int]) -> Tensor:
        x, g, (batch, channels) = batch_last(input), positions_first(grad, self.groups), input.shape[:2]
        weight = memory.empty(weight_shape, grad)
        with FastProducts(x):
            for buffer, start, counts, at in self._blocks(x, batch, channels):
                view = windows_batch_last(x, self.window, self.groups, start, counts)
                buffer.view(view.shape).copy_(view)
                right, part = g[at].flatten(0, 1), weight[at]
                left = buffer.view(len(right), channels // self.groups * self.window.taps, batch)
                if self.groups == 1:
                    torch.bmm(left, right, out=part.flatten(1, -2))
                else:
                    part.copy_(ungroup_weights(torch.bmm(left, right), self.groups, part.shape))
        return weight

    def portable_output(self, input: Tensor, weight: Tensor) -> Tensor:
        return portable.local_output(self, input, weight)

    def portable_transposed(self, input: Tensor, weight: Tensor, padded_shape: Sequence[int]) -> Tensor:
        return portable.local_transposed(self, input, weight, padded_shape)

    def out_channels(self, weight_shape: Sequence[int]) -> int:
        return weight_shape[-1]

    def _blocks(
        self, like: Tensor, batch: int, channels: int
    ) -> Iterator[tuple[Tensor, tuple[int, ...], tuple[int, ...], slice]]:
        """Blocks of positions: a buffer for their windows, the first, the counts an axis, the numbers."""
        each = batch * channels * self.window.taps
        most = max(1, BUFFER // max(1, each))
        parts = list(boxes(self.output_size, most))
        buffer = like.new_empty(each * max(at.stop - at.start for _, _, at in parts))
        for start, counts, at in parts:
            yield buffer[: each * (at.stop - at.start)], start, counts, at

    def _weights(self, weight: Tensor) -> Tensor:
        """[n, *kernel_size, in/groups, out] -> [n * groups, depth, out/groups]."""
        if self.groups == 1:
            return weight.flatten(1, -2)
        return group_weights(weight.flatten(1, -3), self.groups)


def _add_windows(view: Tensor, values: Tensor, counts: Sequence[int]) -> None:
    """Add to a view of windows, some taps at a time, so that none meets another's input.

    Taps of a leading axis of the kernel meet only where the box has several positions on that axis.
    """
    ndim = len(counts)
    apart = [
        range(n) if count > 1 or axis == ndim - 1 else (slice(None),)
        for axis, (n, count) in enumerate(zip(view.shape[ndim + 1 : -1], counts))
    ]
    for tap in itertools.product(*apart):
        index = (..., *tap, slice(None))
        view[index].add_(values[index])
