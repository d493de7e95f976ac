"""One convolution for each bank: a bank's positions are a regular grid, so they are a strided convolution."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor
from torch.nn import grad as conv_grad

from .base import Bilinear

_CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_INPUT_GRAD = {n: getattr(conv_grad, f"conv{n}d_input") for n in (1, 2, 3)}
_WEIGHT_GRAD = {n: getattr(conv_grad, f"conv{n}d_weight") for n in (1, 2, 3)}


@dataclass(frozen=True)
class PieceConvolutions(Bilinear):
    """Weight [K, out, in/groups, *kernel_size]; the phases of a tiling, the blocks of a grid, lines.

    Args:
        parts: For every axis, the ranges of output indices that the banks cover.
    """

    parts: tuple[tuple[range, ...], ...]

    def output(self, input: Tensor, weight: Tensor) -> Tensor:
        result = input.new_empty(input.shape[0], weight.shape[1], *self.output_size)
        for bank, (seen, written, stride) in enumerate(self._pieces()):
            result[written] = _CONV[self.window.ndim](
                input[seen], weight[bank], None, stride, 0, self.window.dilation, self.groups
            )
        return result

    def input_grad(self, grad: Tensor, weight: Tensor, input_shape: Sequence[int]) -> Tensor:
        result = grad.new_zeros(tuple(input_shape))
        for bank, (seen, written, stride) in enumerate(self._pieces()):
            piece = result[seen]
            piece += _INPUT_GRAD[self.window.ndim](
                piece.shape, weight[bank], grad[written], stride, 0, self.window.dilation, self.groups
            )
        return result

    def weight_grad(self, input: Tensor, grad: Tensor, weight_shape: Sequence[int]) -> Tensor:
        result = grad.new_empty(tuple(weight_shape))
        for bank, (seen, written, stride) in enumerate(self._pieces()):
            result[bank] = _WEIGHT_GRAD[self.window.ndim](
                input[seen], weight_shape[1:], grad[written], stride, 0, self.window.dilation, self.groups
            )
        return result

    def _pieces(self) -> Iterator[tuple[tuple, tuple, tuple[int, ...]]]:
        """Of every bank: the slice of the input it sees, the slice of the output it writes, its stride."""
        for piece in itertools.product(*self.parts):
            stride = tuple(s * part.step for s, part in zip(self.window.stride, piece))
            seen = tuple(
                slice(part.start * s, part[-1] * s + extent)
                for part, s, extent in zip(piece, self.window.stride, self.window.extent)
            )
            written = tuple(slice(part.start, part.stop, part.step) for part in piece)
            yield (..., *seen), (..., *written), stride
