"""`Tiled`, `Regional` and `SharedAlong` layers: one strided convolution per bank, on one piece of the input.

A piece is a phase of a tiling, a block of a grid, or a line. Small pieces of equal shape are stacked as the
groups of one convolution, which saves calls in small layers.
"""

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
from .layout import CHANNELS_LAST, CONV, SMALL, to_format, to_format_of
from .pieces import Piece, split_pieces
from .weight_layout import BANKS


@dataclass(frozen=True)
class PieceConvolutions(BilinearBackend):
    """The backend of `Tiled`, `Regional` and `SharedAlong`; weight [K, out, in/groups, *kernel_size].

    Args:
        parts: For each axis, the ranges of output indices that the banks cover.
    """

    parts: tuple[tuple[range, ...], ...]
    weight_layout = BANKS

    def output(self, input: Tensor, weight: Tensor) -> Tensor:
        x = self._prepare_input(input)
        result = self._make_empty(x, (x.shape[0], weight.shape[1], *self.output_size))
        conv = CONV[self.window.ndim]
        for banks, pieces in self._split_stacks(x.shape):
            stack, kernels = self._stack_inputs(x, pieces), weight[banks].flatten(0, 1)
            stack = conv(stack, kernels, None, *self._conv_arguments(pieces))
            for piece, part in zip(pieces, stack.chunk(len(pieces), 1)):
                result[(..., *piece.outputs)] = part
        return to_format_of(input, result)

    def input_grad(self, grad: Tensor, weight: Tensor, input_shape: Sequence[int]) -> Tensor:
        g = to_format(self._memory_format, grad)
        result = self._make_empty(grad, input_shape).zero_().to(widen_dtype(grad.dtype))
        for banks, pieces in self._split_stacks(input_shape):
            batch, channels = input_shape[0], input_shape[1] * len(pieces)
            like, kernels = self._make_empty(grad, (batch, channels, *pieces[0].size)), weight[banks]
            stack = self._conv_grad(_stack_outputs(g, pieces), like, kernels.flatten(0, 1), pieces, 0)
            for piece, part in zip(pieces, stack.chunk(len(pieces), 1)):
                result[(..., *piece.inputs)] += part
        return to_format_of(grad, result.to(grad.dtype))

    def weight_grad(self, input: Tensor, grad: Tensor, weight_shape: Sequence[int]) -> Tensor:
        x, g = self._prepare_input(input), to_format(self._memory_format, grad)
        result = grad.new_empty(tuple(weight_shape))
        for banks, pieces in self._split_stacks(x.shape):
            part, stack = result[banks], self._stack_inputs(x, pieces)
            gradient = self._conv_grad(_stack_outputs(g, pieces), stack, part.flatten(0, 1), pieces, 1)
            part.copy_(gradient.view_as(part))
        return result

    def portable_output(self, input: Tensor, weight: Tensor) -> Tensor:
        dilation, groups = self.window.dilation, self.groups
        return exportable.compute_pieces_output(self.pieces, self.parts, dilation, groups, input, weight)

    def portable_input_grad(self, grad: Tensor, weight: Tensor, input_shape: Sequence[int]) -> Tensor:
        dilation, groups = self.window.dilation, self.groups
        return exportable.compute_pieces_input_grad(self.pieces, dilation, groups, grad, weight, input_shape)

    def out_channels(self, weight_shape: Sequence[int]) -> int:
        return weight_shape[1]

    def _dump_fields(self) -> Sequence[Any]:
        return ([[(p.start, p.stop, p.step) for p in axis] for axis in self.parts],)

    @classmethod
    def _load_fields(cls, *fields: list[list[list[int]]]) -> Sequence[Any]:
        (parts,) = fields
        return (tuple(tuple(range(*p) for p in axis) for axis in parts),)

    @cached_property
    def pieces(self) -> list[Piece]:
        """One piece per bank, in the order of the banks."""
        return split_pieces(self.window, self.parts)

    @cached_property
    def _has_phases(self) -> bool:
        """Whether the pieces are phases, with steps between their positions."""
        return any(part.step > 1 for parts in self.parts for part in parts)

    @property
    def _memory_format(self) -> torch.memory_format:
        """Memory format of the input: channels last for phases, so that a step skips whole pixels."""
        return CHANNELS_LAST.get(self.window.ndim + 2 if self._has_phases else 0, torch.contiguous_format)

    def _make_empty(self, like: Tensor, shape: Sequence[int]) -> Tensor:
        return torch.empty(
            tuple(shape), dtype=like.dtype, device=like.device, memory_format=self._memory_format
        )

    def _prepare_input(self, input: Tensor) -> Tensor:
        """Return the input in the memory format. For phases, spare memory for shifted views follows it."""
        x = to_format(self._memory_format, input)
        if not self._shifts_views(x):
            return x
        last = x[(..., *self.pieces[-1].inputs)]  # the piece with the last start
        spare = last.storage_offset() - x.storage_offset()
        return x.new_empty(x.numel() + spare).as_strided(x.shape, x.stride()).copy_(x)

    def _shifts_views(self, x: Tensor) -> bool:
        """Return whether phases are read as shifted views of one copy of the whole input."""
        return self._has_phases and x.numel() >= SMALL

    def _stack_inputs(self, x: Tensor, pieces: Sequence[Piece]) -> Tensor:
        """Return the parts of the input that the pieces read, concatenated along the channels.

        For a stack of one phase, return a view of the whole input that starts where the phase starts, if a
        convolution with the phase's stride has the same number of windows on both. The convolution then reads
        the view without a copy.
        """
        parts = [x[(..., *piece.inputs)] for piece in pieces]
        if len(parts) > 1:
            return torch.cat(parts, 1)
        (piece,) = pieces
        fits = all(
            (n - extent) // s == (m - extent) // s
            for n, m, extent, s in zip(x.shape[2:], piece.size, self.window.extent, piece.stride)
        )
        if not (fits and self._shifts_views(x)):
            return parts[0]
        return x.as_strided(x.shape, x.stride(), parts[0].storage_offset())

    def _split_stacks(self, input_shape: Sequence[int]) -> Iterator[tuple[slice, list[Piece]]]:
        """Yield stacks of consecutive pieces of equal shape, of limited size, each with its banks."""
        bank = 0
        for (size, _), alike in itertools.groupby(self.pieces, lambda p: (p.size, p.stride)):
            pieces = list(alike)
            most = max(1, 2 * BLOCK // max(1, prod((*input_shape[:2], *size))))
            for first in range(0, len(pieces), most):
                stack = pieces[first : first + most]
                yield slice(bank, bank + len(stack)), stack
                bank += len(stack)

    def _conv_arguments(self, pieces: Sequence[Piece]) -> tuple[tuple[int, ...], int, tuple[int, ...], int]:
        """Return stride, padding, dilation and groups of the convolution of a stack."""
        return pieces[0].stride, 0, self.window.dilation, self.groups * len(pieces)

    def _conv_grad(
        self, grad: Tensor, input: Tensor, weight: Tensor, pieces: Sequence[Piece], operand: int
    ) -> Tensor:
        """Return the gradient of a convolution in its input (operand 0) or its weight (operand 1)."""
        stride, _, dilation, groups = self._conv_arguments(pieces)
        zeros = [0] * self.window.ndim
        mask = [operand == 0, operand == 1, False]
        return torch.ops.aten.convolution_backward(
            grad, input, weight, None, stride, zeros, dilation, False, zeros, groups, mask
        )[operand]


def _stack_outputs(output: Tensor, pieces: Sequence[Piece]) -> Tensor:
    """Return the parts of the output that the pieces write, concatenated along the channels."""
    parts = [output[(..., *piece.outputs)] for piece in pieces]
    return torch.cat(parts, 1) if len(parts) > 1 else parts[0]
