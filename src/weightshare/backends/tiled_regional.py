"""Banks whose positions are a regular grid: each is a strided convolution of its piece of the input.

The pieces are phases of a tiling, blocks of a grid, or lines. Small pieces of the same shape are stacked
as the groups of one convolution, so that small maps are not drowned in calls.
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
from .base import BLOCK, BilinearBackend, summing_dtype
from .layout import CHANNELS_LAST, CONV, SMALL, in_format, in_format_of
from .weight_layout import BANKS


@dataclass(frozen=True)
class Piece:
    """The part of the input that a bank sees, the part of the output it writes, and its stride."""

    seen: tuple[slice, ...]
    written: tuple[slice, ...]
    stride: tuple[int, ...]

    @property
    def size(self) -> tuple[int, ...]:
        return tuple(part.stop - part.start for part in self.seen)


@dataclass(frozen=True)
class PieceConvolutions(BilinearBackend):
    """Weight [K, out, in/groups, *kernel_size].

    Args:
        parts: For every axis, the ranges of output indices that the banks cover.
    """

    parts: tuple[tuple[range, ...], ...]
    weight_layout = BANKS

    def output(self, input: Tensor, weight: Tensor) -> Tensor:
        x = self._readable(input)
        result = self._empty(x, (x.shape[0], weight.shape[1], *self.output_size))
        conv = CONV[self.window.ndim]
        for banks, pieces in self._stacks(x.shape):
            stack = conv(self._seen(x, pieces), weight[banks].flatten(0, 1), None, *self._geometry(pieces))
            for piece, part in zip(pieces, stack.chunk(len(pieces), 1)):
                result[(..., *piece.written)] = part
        return in_format_of(input, result)

    def input_grad(self, grad: Tensor, weight: Tensor, input_shape: Sequence[int]) -> Tensor:
        g = self._laid_out(grad)
        result = self._empty(grad, input_shape).zero_().to(summing_dtype(grad.dtype))
        for banks, pieces in self._stacks(input_shape):
            batch, channels = input_shape[0], input_shape[1] * len(pieces)
            like = self._empty(grad, (batch, channels, *pieces[0].size))
            stack = self._backward(_written(g, pieces), like, weight[banks].flatten(0, 1), pieces, 0)
            for piece, part in zip(pieces, stack.chunk(len(pieces), 1)):
                result[(..., *piece.seen)] += part
        return in_format_of(grad, result.to(grad.dtype))

    def weight_grad(self, input: Tensor, grad: Tensor, weight_shape: Sequence[int]) -> Tensor:
        x, g = self._readable(input), self._laid_out(grad)
        result = grad.new_empty(tuple(weight_shape))
        for banks, pieces in self._stacks(x.shape):
            part = result[banks]
            stack = self._backward(_written(g, pieces), self._seen(x, pieces), part.flatten(0, 1), pieces, 1)
            part.copy_(stack.view_as(part))
        return result

    def _backward(
        self, grad: Tensor, input: Tensor, weight: Tensor, pieces: Sequence[Piece], which: int
    ) -> Tensor:
        """The gradient of a convolution's input (`which` 0) or weight (1)."""
        stride, _, dilation, groups = self._geometry(pieces)
        zeros = [0] * self.window.ndim
        expected = [which == 0, which == 1, False]
        return torch.ops.aten.convolution_backward(
            grad, input, weight, None, stride, zeros, dilation, False, zeros, groups, expected
        )[which]

    def _geometry(self, pieces: Sequence[Piece]) -> tuple:
        """Stride, padding, dilation and groups of the convolution of a stack."""
        return pieces[0].stride, 0, self.window.dilation, self.groups * len(pieces)

    def portable_output(self, input: Tensor, weight: Tensor) -> Tensor:
        return exportable.pieces_output(self, input, weight)

    def portable_transposed(self, input: Tensor, weight: Tensor, padded_shape: Sequence[int]) -> Tensor:
        return exportable.pieces_transposed(self, input, weight, padded_shape)

    def out_channels(self, weight_shape: Sequence[int]) -> int:
        return weight_shape[1]

    def _further(self) -> Sequence[Any]:
        return ([[(p.start, p.stop, p.step) for p in axis] for axis in self.parts],)

    @classmethod
    def _fields(cls, parts: list) -> Sequence[Any]:  # type: ignore[override]
        return (tuple(tuple(range(*p) for p in axis) for axis in parts),)

    @cached_property
    def _stepped(self) -> bool:
        """Whether pieces are phases, with steps between their positions."""
        return any(part.step > 1 for parts in self.parts for part in parts)

    @property
    def _memory_format(self) -> torch.memory_format:
        """Channels last where pieces have steps: a step then jumps over pixels, not over single numbers."""
        return CHANNELS_LAST.get(self.window.ndim + 2 if self._stepped else 0, torch.contiguous_format)

    def _laid_out(self, tensor: Tensor) -> Tensor:
        return in_format(self._memory_format, tensor)

    def _readable(self, input: Tensor) -> Tensor:
        """Laid out; for phases, with memory behind it that a shifted view may span."""
        x = self._laid_out(input)
        if not self._shifts(x):
            return x
        last = x[(..., *self.pieces[-1].seen)]  # starts behind all others
        behind = last.storage_offset() - x.storage_offset()
        return x.new_empty(x.numel() + behind).as_strided(x.shape, x.stride()).copy_(x)

    def _shifts(self, x: Tensor) -> bool:
        """Whether phases are views of the whole input, which takes a copy of it."""
        return self._stepped and x.numel() >= SMALL

    def _seen(self, x: Tensor, pieces: Sequence[Piece]) -> Tensor:
        """What a stack sees of the input, its pieces one behind the other as channels.

        The one piece of a phase is the whole input, shifted to where the phase starts, if as many windows of
        its stride fit: a convolution then reads it without a copy.
        """
        parts = [x[(..., *piece.seen)] for piece in pieces]
        if len(parts) > 1:
            return torch.cat(parts, 1)
        (piece,) = pieces
        fits = all(
            (n - extent) // s == (seen.stop - seen.start - extent) // s
            for n, extent, s, seen in zip(x.shape[2:], self.window.extent, piece.stride, piece.seen)
        )
        if not (fits and self._shifts(x)):
            return parts[0]
        return x.as_strided(x.shape, x.stride(), parts[0].storage_offset())

    def _empty(self, like: Tensor, shape: Sequence[int]) -> Tensor:
        return torch.empty(
            tuple(shape), dtype=like.dtype, device=like.device, memory_format=self._memory_format
        )

    def _stacks(self, input_shape: Sequence[int]) -> Iterator[tuple[slice, list[Piece]]]:
        """Neighbouring banks whose pieces are alike, and these pieces, a block of numbers at a time."""
        bank = 0
        for (size, _), alike in itertools.groupby(self.pieces, lambda p: (p.size, p.stride)):
            pieces = list(alike)
            at_once = max(1, 2 * BLOCK // max(1, prod((*input_shape[:2], *size))))
            for first in range(0, len(pieces), at_once):
                stack = pieces[first : first + at_once]
                yield slice(bank, bank + len(stack)), stack
                bank += len(stack)

    @cached_property
    def pieces(self) -> list[Piece]:
        """One a bank, in the order of the banks."""
        return [
            Piece(
                seen=tuple(
                    slice(part.start * s, part[-1] * s + extent)
                    for part, s, extent in zip(parts, self.window.stride, self.window.extent)
                ),
                written=tuple(slice(part.start, part.stop, part.step) for part in parts),
                stride=tuple(s * part.step for s, part in zip(self.window.stride, parts)),
            )
            for parts in itertools.product(*self.parts)
        ]


def _written(output: Tensor, pieces: Sequence[Piece]) -> Tensor:
    """What a stack writes of the output, in the same order."""
    parts = [output[(..., *piece.written)] for piece in pieces]
    return torch.cat(parts, 1) if len(parts) > 1 else parts[0]
