"""`Local` layers with very few channels per group: one elementwise multiply-add per tap.

This backend computes depthwise and single-pixel layers, whose matrix products would be too small. The images
are not rearranged: each tap reads a strided view of them.
"""

from collections.abc import Iterator, Sequence
from math import prod

import torch
from torch import Tensor

from . import exportable
from .base import BilinearBackend, widen_dtype
from .layout import slice_taps, to_format_of, transpose
from .weight_layout import PER_POSITION

#: Number of products per tap, position and group up to which this backend is faster than `LocalRows`.
FEW_PRODUCTS = 8
#: Number of elements per image from which the weight gradient adds one image at a time, without a temporary.
LARGE_IMAGE = 2**14
#: Number of elements in the images that are computed at a time: 4 MiB in float32.
BLOCK = 2**20


class LocalTaps(BilinearBackend):
    """The backend of `Local` for few channels per group; weight [P, *kernel_size, in/groups, out]."""

    weight_layout = PER_POSITION

    def output(self, input: Tensor, weight: Tensor) -> Tensor:
        x, w = self._split_groups(input), self._arrange_weights(weight)
        result = x.new_empty(len(x), *w.shape[1:])
        step = max(1, BLOCK // max(1, result[:1].numel()))
        for first in range(0, len(x), step):
            images = slice(first, first + step)
            first_view, *others = self._view_taps(x[images])
            part = torch.mul(first_view.unsqueeze(2), w[0], out=result[images])
            for tap, view in enumerate(others, 1):
                part.addcmul_(view.unsqueeze(2), w[tap])
        return to_format_of(input, result.flatten(1, 2).to(input.dtype))

    def input_grad(self, grad: Tensor, weight: Tensor, input_shape: Sequence[int]) -> Tensor:
        w, g = self._arrange_weights(weight), self._split_groups(grad)
        batch, channels, *padded = input_shape
        result = g.new_zeros(batch, self.groups, channels // self.groups, *padded)
        step = max(1, BLOCK // max(1, g[:1].numel()))
        for first in range(0, batch, step):
            images = slice(first, first + step)
            for tap, view in enumerate(self._view_taps(result[images])):
                for out in range(g.shape[2]):
                    view.addcmul_(g[images, :, out], w[tap, :, out])
        return to_format_of(grad, result.flatten(1, 2).to(grad.dtype))

    def weight_grad(self, input: Tensor, grad: Tensor, weight_shape: Sequence[int]) -> Tensor:
        x, g = self._split_groups(input), self._split_groups(grad)
        depth = prod(weight_shape[1:-1])
        result = g.new_zeros(depth, *g.shape[1:])
        for tap, view in enumerate(self._view_taps(x)):
            if view[:1].numel() < LARGE_IMAGE:
                torch.sum(view.unsqueeze(2) * g, 0, out=result[tap])
            else:
                for image, direction in zip(view, g):
                    result[tap].addcmul_(image.unsqueeze(1), direction)
        by_position = transpose(result.view(1, -1, weight_shape[0]))  # [1, P, depth * out]
        return by_position.view(tuple(weight_shape)).to(grad.dtype)

    def portable_output(self, input: Tensor, weight: Tensor) -> Tensor:
        return exportable.compute_local_output(self.window, self.output_size, self.groups, input, weight)

    def portable_input_grad(self, grad: Tensor, weight: Tensor, input_shape: Sequence[int]) -> Tensor:
        geometry = self.window, self.output_size, self.groups
        return exportable.compute_local_input_grad(*geometry, grad, weight, input_shape)

    def out_channels(self, weight_shape: Sequence[int]) -> int:
        return weight_shape[-1]

    def _split_groups(self, images: Tensor) -> Tensor:
        """Return [N, C, *size] as [N, groups, C/groups, *size] in the accumulation dtype."""
        return images.to(widen_dtype(images.dtype)).contiguous().unflatten(1, (self.groups, -1))

    def _arrange_weights(self, weight: Tensor) -> Tensor:
        """Return the weight as [taps * in/groups, groups, out/groups, *output_size]."""
        positions, out = weight.shape[0], weight.shape[-1]
        by_tap = transpose(weight.to(widen_dtype(weight.dtype)).reshape(1, positions, -1))
        return by_tap.view(-1, self.groups, out // self.groups, *self.output_size)

    def _view_taps(self, images: Tensor) -> Iterator[Tensor]:
        """Yield the inputs of each tap and channel of a group as views [N, groups, *output_size]."""
        for inputs in slice_taps(self.window, self.output_size):
            for channel in range(images.shape[2]):
                yield images[(slice(None), slice(None), channel, *inputs)]
