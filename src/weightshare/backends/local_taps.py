"""Nothing shared, and groups of very few channels: one elementwise multiply-add for each tap.

For depthwise layers and layers of single pixels, whose matrix products would be too small. Images stay as
they are; what a tap sees is a strided view of them.
"""

from collections.abc import Iterator, Sequence
from math import prod

import torch
from torch import Tensor

from . import exportable
from .base import BilinearBackend, summing_dtype
from .layout import in_format_of, seen_by_taps, transpose
from .weight_layout import PER_POSITION

#: Products a tap, position and group of channels up to which this way is the faster one.
FEW_PRODUCTS = 8
#: Numbers of an image from which on its products are added one image at a time, without a temporary.
LARGE_IMAGE = 2**14
#: Numbers of the images that are computed at a time: 4 MiB in float32.
BLOCK = 2**20


class LocalTaps(BilinearBackend):
    """Weight [P, *kernel_size, in/groups, out]."""

    weight_layout = PER_POSITION

    def output(self, input: Tensor, weight: Tensor) -> Tensor:
        x, w = self._by_group(input), self._weights(weight)
        result = x.new_empty(len(x), *w.shape[1:])
        step = max(1, BLOCK // max(1, result[:1].numel()))
        for first in range(0, len(x), step):
            images = slice(first, first + step)
            first_seen, *others = self._taps(x[images])
            part = torch.mul(first_seen.unsqueeze(2), w[0], out=result[images])
            for tap, seen in enumerate(others, 1):
                part.addcmul_(seen.unsqueeze(2), w[tap])
        return in_format_of(input, result.flatten(1, 2).to(input.dtype))

    def input_grad(self, grad: Tensor, weight: Tensor, input_shape: Sequence[int]) -> Tensor:
        w, g = self._weights(weight), self._by_group(grad)
        batch, channels, *padded = input_shape
        result = g.new_zeros(batch, self.groups, channels // self.groups, *padded)
        step = max(1, BLOCK // max(1, g[:1].numel()))
        for first in range(0, batch, step):
            images = slice(first, first + step)
            for tap, seen in enumerate(self._taps(result[images])):
                for out in range(g.shape[2]):
                    seen.addcmul_(g[images, :, out], w[tap, :, out])
        return in_format_of(grad, result.flatten(1, 2).to(grad.dtype))

    def weight_grad(self, input: Tensor, grad: Tensor, weight_shape: Sequence[int]) -> Tensor:
        x, g = self._by_group(input), self._by_group(grad)
        depth = prod(weight_shape[1:-1])
        result = g.new_zeros(depth, *g.shape[1:])
        for tap, seen in enumerate(self._taps(x)):
            if seen[:1].numel() < LARGE_IMAGE:
                torch.sum(seen.unsqueeze(2) * g, 0, out=result[tap])
            else:
                for image, direction in zip(seen, g):
                    result[tap].addcmul_(image.unsqueeze(1), direction)
        by_position = transpose(result.view(1, -1, weight_shape[0]))  # [1, P, depth * out]
        return by_position.view(tuple(weight_shape)).to(grad.dtype)

    def portable_output(self, input: Tensor, weight: Tensor) -> Tensor:
        return exportable.local_output(self, input, weight)

    def portable_transposed(self, input: Tensor, weight: Tensor, padded_shape: Sequence[int]) -> Tensor:
        return exportable.local_transposed(self, input, weight, padded_shape)

    def out_channels(self, weight_shape: Sequence[int]) -> int:
        return weight_shape[-1]

    def _by_group(self, images: Tensor) -> Tensor:
        """[N, C, *size] -> [N, groups, C/groups, *size]."""
        return images.to(summing_dtype(images.dtype)).contiguous().unflatten(1, (self.groups, -1))

    def _weights(self, weight: Tensor) -> Tensor:
        """[P, *kernel_size, in/groups, out] -> [taps * in/groups, groups, out/groups, *output_size]."""
        positions, out = weight.shape[0], weight.shape[-1]
        by_tap = transpose(weight.to(summing_dtype(weight.dtype)).reshape(1, positions, -1))
        return by_tap.view(-1, self.groups, out // self.groups, *self.output_size)

    def _taps(self, images: Tensor) -> Iterator[Tensor]:
        """What every tap sees of every channel of a group, [N, groups, *output_size] each, as views."""
        for where in seen_by_taps(self.window, self.output_size):
            for channel in range(images.shape[2]):
                yield images[(slice(None), slice(None), channel, *where)]
