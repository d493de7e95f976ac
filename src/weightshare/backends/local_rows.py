"""`Local` layers as batches of small matrix products, one per position.

The positions are processed in blocks. The windows of a block are copied from a rearranged input into a buffer
that stays in cache, and multiplied with the weights, which are read once and in place. The forward pass
multiplies [N, depth] by [depth, out]. The gradients keep the batch innermost, which makes copies longer and
therefore faster.
"""

import itertools
from collections.abc import Iterator, Sequence
from math import gcd, prod

import torch
from torch import Tensor

from ..geometry import Window
from . import exportable, reuse
from .base import BilinearBackend, widen_dtype
from .layout import (
    SMALL,
    group_weights,
    merge_positions,
    move_images_last,
    pack_channels,
    pack_images,
    split_grid,
    split_positions,
    to_format_of,
    transpose,
    ungroup_weights,
    unpack_images,
    view_batch_first,
    view_windows,
)
from .products import FastProducts
from .weight_layout import PER_POSITION

#: Elements in the buffer of windows: 6 MiB in float32, the fastest size for the shapes in
#: benchmarks/shapes.py.
BUFFER = 3 * 2**19
#: For a batch of one image: the number of weights per position and group from which oneDNN is faster.
LARGE_KERNEL = 2**15
#: For a batch of one image: the number of outputs per group up to which a row times a matrix is faster than a
#: matrix times a column.
FEW_OUTPUTS = 16


class LocalRows(BilinearBackend):
    """The backend of `Local` for most layers; weight [P, *kernel_size, in/groups, out]."""

    weight_layout = PER_POSITION

    def output(self, input: Tensor, weight: Tensor) -> Tensor:
        if self.groups > 1 and input.shape[0] > 1 and input.numel() >= SMALL:
            return unpack_images(self._compute_packed_outputs(pack_images(input), weight), like=input)
        outputs = self._compute_outputs(pack_channels(input), weight)
        return merge_positions(outputs, self.output_size, like=input)

    def _compute_outputs(self, x: Tensor, weight: Tensor) -> Tensor:
        """Return the outputs as [P, groups, N, out/groups]."""
        batch, channels = x.shape[:2]
        shape = (len(weight), self.groups, batch, weight.shape[-1] // self.groups)
        if self._is_small(x.numel()):
            right = self._group_weights(weight)
            left = self._view_windows(x).reshape(len(right), batch, right.shape[1])
            return torch.bmm(left, right).view(shape)
        result = x.new_empty(shape)
        with FastProducts(x, batch > 1 or weight[:1].numel() // self.groups >= LARGE_KERNEL):
            for buffer, start, counts, at in self._split_blocks(x, batch, channels):
                view = view_windows(x, self.window, self.groups, start, counts)
                buffer.view(view.shape).copy_(view)
                target, right = result[at].flatten(0, 1), self._group_weights(weight[at])
                torch.bmm(buffer.view(len(target), batch, right.shape[1]), right, out=target)
        return result

    def _compute_packed_outputs(self, x: Tensor, weight: Tensor) -> Tensor:
        """Return the outputs as [*output_size, out, N].

        With groups, few channels are adjacent in memory, so that copying along the images is faster.
        """
        batch, channels = x.shape[:2]
        result = x.new_empty(len(weight) * self.groups, weight.shape[-1] // self.groups, batch)
        with FastProducts(x):
            for buffer, start, counts, at in self._split_blocks(x, batch, channels):
                view = move_images_last(view_windows(x, self.window, self.groups, start, counts))
                buffer.view(view.shape).copy_(view)
                left = self._group_weights(weight[at]).mT
                rows = slice(at.start * self.groups, at.stop * self.groups)
                torch.bmm(left, buffer.view(len(left), left.shape[2], batch), out=result[rows])
        return result.view(*self.output_size, -1, batch)

    def input_grad(self, grad: Tensor, weight: Tensor, input_shape: Sequence[int]) -> Tensor:
        batch, channels, *padded = input_shape
        g = split_positions(grad, self.groups)
        if self._is_small(prod(input_shape)):
            return self._compute_small_input_grad(g, weight, input_shape, like=grad)
        g = transpose(g.flatten(0, 1)).unflatten(0, g.shape[:2])
        x = grad.new_zeros(*padded, channels, batch, dtype=widen_dtype(grad.dtype))
        with FastProducts(grad, batch > 1):
            for buffer, start, counts, at in self._split_blocks(grad, batch, channels):
                left, right = self._group_weights(weight[at]), g[at].flatten(0, 1)
                if batch == 1 and left.shape[2] <= FEW_OUTPUTS:  # same values, faster as a row times a matrix
                    torch.bmm(right.mT, left.mT, out=buffer.view(len(left), 1, left.shape[1]))
                else:
                    torch.bmm(left, right, out=buffer.view(len(left), left.shape[1], batch))
                view = view_windows(view_batch_first(x), self.window, self.groups, start, counts)
                view = move_images_last(view)
                _add_windows(view, buffer.view(view.shape), counts, self.window)
        return unpack_images(x.to(grad.dtype), like=grad)

    def _compute_small_input_grad(
        self, g: Tensor, weight: Tensor, input_shape: Sequence[int], like: Tensor
    ) -> Tensor:
        """Compute all windows with one product and add them to their inputs with one call."""
        batch, channels, *padded = input_shape
        products = torch.bmm(g.flatten(0, 1), self._group_weights(weight).mT).to(widen_dtype(g.dtype))
        taps = products.view(len(g), self.groups, batch, self.window.taps, -1).permute(0, 3, 2, 1, 4)
        pixels = torch.arange(prod(padded), device=g.device).view(1, 1, *padded)
        indices = view_windows(pixels, self.window, 1, (0,) * len(padded), self.output_size).reshape(-1)
        x = products.new_zeros(prod(padded), batch * channels)
        x.index_add_(0, indices, taps.reshape(len(indices), batch * channels))
        result = x.view(*padded, batch, channels).movedim((-2, -1), (0, 1))
        return to_format_of(like, result.to(g.dtype))

    def weight_grad(self, input: Tensor, grad: Tensor, weight_shape: Sequence[int]) -> Tensor:
        x, g, (batch, channels) = pack_images(input), split_positions(grad, self.groups), input.shape[:2]
        if self._is_small(input.numel()):
            left = move_images_last(self._view_windows(x)).reshape(len(g) * self.groups, -1, batch)
            return ungroup_weights(torch.bmm(left, g.flatten(0, 1)), self.groups, weight_shape)
        weight = reuse.allocate(weight_shape, grad)
        with FastProducts(x):
            for buffer, start, counts, at in self._split_blocks(x, batch, channels):
                view = move_images_last(view_windows(x, self.window, self.groups, start, counts))
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
        return exportable.compute_local_output(self.window, self.output_size, self.groups, input, weight)

    def portable_input_grad(self, grad: Tensor, weight: Tensor, input_shape: Sequence[int]) -> Tensor:
        geometry = self.window, self.output_size, self.groups
        return exportable.compute_local_input_grad(*geometry, grad, weight, input_shape)

    def out_channels(self, weight_shape: Sequence[int]) -> int:
        return weight_shape[-1]

    def _split_blocks(
        self, like: Tensor, batch: int, channels: int
    ) -> Iterator[tuple[Tensor, tuple[int, ...], tuple[int, ...], slice]]:
        """Yield, for each block of positions, a buffer for their windows and the box from `split_grid`."""
        each = batch * channels * self.window.taps
        most = max(1, BUFFER // max(1, each))
        parts = list(split_grid(self.output_size, most))
        buffer = like.new_empty(each * max(at.stop - at.start for _, _, at in parts))
        for start, counts, at in parts:
            yield buffer[: each * (at.stop - at.start)], start, counts, at

    def _is_small(self, elements: int) -> bool:
        """Return whether an input with this many elements is so small that call overhead dominates."""
        return 0 < elements * self.window.taps < SMALL

    def _view_windows(self, x: Tensor) -> Tensor:
        """Return the windows of all positions as a view of the input."""
        return view_windows(x, self.window, self.groups, (0,) * self.window.ndim, self.output_size)

    def _group_weights(self, weight: Tensor) -> Tensor:
        """Rearrange [n, *kernel_size, in/groups, out] to [n * groups, depth, out/groups]."""
        if self.groups == 1:
            return weight.flatten(1, -2)
        return group_weights(weight.flatten(1, -3), self.groups)


def _add_windows(view: Tensor, values: Tensor, counts: Sequence[int], window: Window) -> None:
    """Add values to an overlapping view of windows, in groups of taps that never reach the same input.

    An axis with one position adds all its taps at once. Otherwise s / gcd(s, d) neighboring taps are added at
    once, for stride s and dilation d.
    """
    groups: list[list[slice]] = []
    for n, count, s, d in zip(window.kernel_size, counts, window.stride, window.dilation):
        step = n if count == 1 else s // gcd(s, d)
        groups.append([slice(first, first + step) for first in range(0, n, step)])
    for taps in itertools.product(*groups):
        index = (..., *taps, slice(None), slice(None))
        view[index].add_(values[index])
