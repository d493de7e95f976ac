"""Nothing shared: batches of small matrix products, one for each position.

Block by block, the windows of some positions are copied in long runs from a re-laid input into one buffer,
small enough to stay in cache, and multiplied with the weights, read once and where they lie. Forward
multiplies [N, depth] by [depth, out]; the gradients have the batch innermost, whose runs are longer still.
"""

import itertools
from collections.abc import Iterator, Sequence
from math import gcd, prod

import torch
from torch import Tensor

from ..geometry import Window
from . import exportable, reuse
from .base import BilinearBackend, summing_dtype
from .layout import (
    SMALL,
    batch_first,
    boxes,
    by_channel,
    by_image,
    from_by_image,
    group_weights,
    images_last,
    in_format_of,
    positions_first,
    shown,
    transpose,
    ungroup_weights,
    windows,
)
from .products import FastProducts
from .weight_layout import PER_POSITION

#: Elements of the buffer of windows: 6 MiB in float32, measured on the shapes of benchmarks/shapes.py.
BUFFER = 3 * 2**19
#: With one image, which reads the weights once: numbers of one position's and group's kernels from which on
#: oneDNN is faster, and outputs of a group up to which a row of them times the weights is faster than the
#: weights times a column.
LARGE_KERNEL = 2**15
FEW_OUTPUTS = 16


class LocalRows(BilinearBackend):
    """Weight [P, *kernel_size, in/groups, out]."""

    weight_layout = PER_POSITION

    def output(self, input: Tensor, weight: Tensor) -> Tensor:
        if self.groups > 1 and input.shape[0] > 1 and input.numel() >= SMALL:
            return from_by_image(self._outputs_by_image(by_image(input), weight), like=input)
        return batch_first(self._outputs(by_channel(input), weight), self.output_size, like=input)

    def _outputs(self, x: Tensor, weight: Tensor) -> Tensor:
        """[P, groups, N, out/groups]."""
        batch, channels = x.shape[:2]
        shape = (len(weight), self.groups, batch, weight.shape[-1] // self.groups)
        if self._is_small(x.numel()):
            right = self._weights(weight)
            return torch.bmm(self._windows(x).reshape(len(right), batch, right.shape[1]), right).view(shape)
        result = x.new_empty(shape)
        with FastProducts(x, batch > 1 or weight[:1].numel() // self.groups >= LARGE_KERNEL):
            for buffer, start, counts, at in self._blocks(x, batch, channels):
                view = windows(x, self.window, self.groups, start, counts)
                buffer.view(view.shape).copy_(view)
                target, right = result[at].flatten(0, 1), self._weights(weight[at])
                torch.bmm(buffer.view(len(target), batch, right.shape[1]), right, out=target)
        return result

    def _outputs_by_image(self, x: Tensor, weight: Tensor) -> Tensor:
        """[*output_size, out, N]: groups make the runs of channels short, but not those of images."""
        batch, channels = x.shape[:2]
        result = x.new_empty(len(weight) * self.groups, weight.shape[-1] // self.groups, batch)
        with FastProducts(x):
            for buffer, start, counts, at in self._blocks(x, batch, channels):
                view = images_last(windows(x, self.window, self.groups, start, counts))
                buffer.view(view.shape).copy_(view)
                left = self._weights(weight[at]).mT
                rows = slice(at.start * self.groups, at.stop * self.groups)
                torch.bmm(left, buffer.view(len(left), left.shape[2], batch), out=result[rows])
        return result.view(*self.output_size, -1, batch)

    def input_grad(self, grad: Tensor, weight: Tensor, input_shape: Sequence[int]) -> Tensor:
        batch, channels, *padded = input_shape
        g = positions_first(grad, self.groups)
        if self._is_small(prod(input_shape)):
            return self._small_input_grad(g, weight, input_shape, like=grad)
        g = transpose(g.flatten(0, 1)).unflatten(0, g.shape[:2])
        x = grad.new_zeros(*padded, channels, batch, dtype=summing_dtype(grad.dtype))
        with FastProducts(grad, batch > 1):
            for buffer, start, counts, at in self._blocks(grad, batch, channels):
                left, right = self._weights(weight[at]), g[at].flatten(0, 1)
                if batch == 1 and left.shape[2] <= FEW_OUTPUTS:  # the same numbers in the same order
                    torch.bmm(right.mT, left.mT, out=buffer.view(len(left), 1, left.shape[1]))
                else:
                    torch.bmm(left, right, out=buffer.view(len(left), left.shape[1], batch))
                view = images_last(windows(shown(x), self.window, self.groups, start, counts))
                _add_windows(view, buffer.view(view.shape), counts, self.window)
        return from_by_image(x.to(grad.dtype), like=grad)

    def _small_input_grad(
        self, g: Tensor, weight: Tensor, input_shape: Sequence[int], like: Tensor
    ) -> Tensor:
        """In few calls: all windows, and one addition of them where they belong."""
        batch, channels, *padded = input_shape
        products = torch.bmm(g.flatten(0, 1), self._weights(weight).mT).to(summing_dtype(g.dtype))
        taps = products.view(len(g), self.groups, batch, self.window.taps, -1).permute(0, 3, 2, 1, 4)
        pixels = torch.arange(prod(padded), device=g.device).view(1, 1, *padded)
        seen = windows(pixels, self.window, 1, (0,) * len(padded), self.output_size).reshape(-1)
        x = products.new_zeros(prod(padded), batch * channels)
        x.index_add_(0, seen, taps.reshape(len(seen), batch * channels))
        result = x.view(*padded, batch, channels).movedim((-2, -1), (0, 1))
        return in_format_of(like, result.to(g.dtype))

    def weight_grad(self, input: Tensor, grad: Tensor, weight_shape: Sequence[int]) -> Tensor:
        x, g, (batch, channels) = by_image(input), positions_first(grad, self.groups), input.shape[:2]
        if self._is_small(input.numel()):
            left = images_last(self._windows(x)).reshape(len(g) * self.groups, -1, batch)
            return ungroup_weights(torch.bmm(left, g.flatten(0, 1)), self.groups, weight_shape)
        weight = reuse.empty(weight_shape, grad)
        with FastProducts(x):
            for buffer, start, counts, at in self._blocks(x, batch, channels):
                view = images_last(windows(x, self.window, self.groups, start, counts))
                buffer.view(view.shape).copy_(view)
                right, part = g[at].flatten(0, 1), weight[at]
                left = buffer.view(len(right), channels // self.groups * self.window.taps, batch)
                if self.groups == 1:
                    product = torch.mul if batch == 1 else torch.bmm
                    product(left, right, out=part.flatten(1, -2))
                else:
                    part.copy_(ungroup_weights(torch.bmm(left, right), self.groups, part.shape))
        return weight

    def portable_output(self, input: Tensor, weight: Tensor) -> Tensor:
        return exportable.local_output(self, input, weight)

    def portable_transposed(self, input: Tensor, weight: Tensor, padded_shape: Sequence[int]) -> Tensor:
        return exportable.local_transposed(self, input, weight, padded_shape)

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

    def _is_small(self, numbers: int) -> bool:
        """Whether all windows of an input of so many numbers are fewer than a block, and calls cost most."""
        return 0 < numbers * self.window.taps < SMALL

    def _windows(self, x: Tensor) -> Tensor:
        """Of all positions."""
        return windows(x, self.window, self.groups, (0,) * self.window.ndim, self.output_size)

    def _weights(self, weight: Tensor) -> Tensor:
        """[n, *kernel_size, in/groups, out] -> [n * groups, depth, out/groups]."""
        if self.groups == 1:
            return weight.flatten(1, -2)
        return group_weights(weight.flatten(1, -3), self.groups)


def _add_windows(view: Tensor, values: Tensor, counts: Sequence[int], window: Window) -> None:
    """Add to a view of windows, as many taps at a time as never meet another position's input.

    On an axis with one position all taps; else s / gcd(s, d) neighbouring ones of stride s and dilation d.
    """
    apart = []
    for n, count, s, d in zip(window.kernel_size, counts, window.stride, window.dilation):
        step = n if count == 1 else s // gcd(s, d)
        apart.append([slice(first, first + step) for first in range(0, n, step)])
    for taps in itertools.product(*apart):
        index = (..., *taps, slice(None), slice(None))
        view[index].add_(values[index])
