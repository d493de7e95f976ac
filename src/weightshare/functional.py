"""Choosing the backend that computes a layer, padding its input and adding its bias."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .backends import (
    FEW_PRODUCTS,
    Backend,
    BasisConvolutions,
    GatheredPositions,
    LocalRows,
    LocalTaps,
    PieceConvolutions,
    autocast_dtype,
)
from .backends.exportable import is_wanted, portable
from .geometry import Window
from .sharing import LowRank, Separable, Sharing

__all__ = ["Spread", "as_banks", "as_local", "choose", "conv", "conv_transpose", "pad", "portable"]


def choose(
    sharing: Sharing,
    window: Window,
    output_size: Sequence[int],
    groups: int,
    channels: tuple[int, int] | None = None,
) -> Backend:
    """The backend that computes a layer of this sharing (`Full` is torch's own convolution and needs none).

    Args:
        output_size: Positions that own kernels, on every axis.
        channels: (out, in) of one group, where known: tells whether products of matrices are worth while.
    """
    size = tuple(output_size)
    if isinstance(sharing, LowRank):
        return BasisConvolutions(window, size, groups)
    if isinstance(sharing, Separable):
        parts = sharing.parts(size)
        if any(len(axis) != n for axis, n in zip(parts, size)):
            return PieceConvolutions(window, size, groups, tuple(map(tuple, parts)))
        few = channels is not None and channels[0] * channels[1] <= FEW_PRODUCTS
        return (LocalTaps if few else LocalRows)(window, size, groups)
    return GatheredPositions(window, size, groups, tuple(sharing.labels(size)))


def pad(input: Tensor, window: Window, padding_mode: str) -> Tensor:
    """[N, C, *size] -> [N, C, *padded], with torch's meaning of the four padding modes."""
    if not any(map(any, window.padding)):
        return input
    amounts = [n for pair in reversed(window.padding) for n in pair]
    return F.pad(input, amounts, mode="constant" if padding_mode == "zeros" else padding_mode)


@dataclass(frozen=True)
class Spread:
    """What gives every position the value of its bank, worked out once for a one-hot sharing.

    Args:
        labels: The bank of every position, None where each has its own.
        by_axis: The banks on every axis if the sharing is separable, with the bank of every index of the axis
            (None where there is one for all or one for each): fewer numbers to store in an exported program.
    """

    output_size: tuple[int, ...]
    labels: Tensor | None
    by_axis: tuple[tuple[int, Tensor | None], ...] | None

    @classmethod
    def of(cls, sharing: Sharing, output_size: Sequence[int]) -> "Spread":
        """For a sharing over an output."""
        size, by_axis, own = tuple(output_size), None, False
        if isinstance(sharing, Separable):
            by_axis = tuple(_axis_labels(parts, n) for parts, n in zip(sharing.parts(size), size))
            own = tuple(banks for banks, _ in by_axis) == size
        labels = None if own else torch.tensor(sharing.labels(size), device="cpu")
        return cls(size, labels, by_axis)

    def __call__(self, values: Tensor) -> Tensor:
        """[K, out], one row a bank -> what broadcasts to [out, *output_size], one column a position."""
        if self.by_axis is not None and is_wanted():
            return self._axis_by_axis(values)
        banks = values.T.contiguous()  # adding in rows of positions is faster
        if self.labels is not None:
            banks = banks.index_select(1, self.labels.to(values.device))
        return banks.unflatten(1, self.output_size)

    def _axis_by_axis(self, values: Tensor) -> Tensor:
        result = values.T.unflatten(1, [banks for banks, _ in self.by_axis])  # type: ignore[union-attr]
        for axis, (_, labels) in enumerate(self.by_axis, 1):  # type: ignore[arg-type]
            if labels is not None:
                result = result.index_select(axis, labels.to(values.device))
        return result


def _axis_labels(parts: Sequence[Sequence[int]], n: int) -> tuple[int, Tensor | None]:
    """How many parts an axis has, and which one every index is in."""
    part_of = {i: number for number, part in enumerate(parts) for i in part}
    labels = torch.tensor([part_of[i] for i in range(n)], device="cpu")
    return len(parts), None if len(parts) in (1, n) else labels


def as_local(banks: Tensor) -> Tensor:
    """[P, out, in/groups, *kernel_size] -> the layout of `LocalRows`, [P, *kernel_size, in/groups, out]."""
    return banks.movedim((2, 1), (-2, -1)).contiguous()


def as_banks(weight: Tensor) -> Tensor:
    """The inverse of `as_local`, as a view."""
    return weight.movedim((-2, -1), (2, 1))


def conv(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    backend: Backend,
    padding_mode: str = "zeros",
    coefficients: Tensor | None = None,
) -> Tensor:
    """A layer of any sharing but `Full`, computed by `backend`.

    Args:
        input: [N, in, *size].
        weight: [K, out, in/groups, *kernel_size], or `LocalRows`' own layout.
        bias: Anything that broadcasts over [N, out, *output_size].
        coefficients: [rank, *output_size], for low rank only.
    """
    x, weight = _autocast(pad(input, backend.window, padding_mode), weight)
    return _with_bias(_in_format_of(input, backend(x, weight, coefficients)), bias)


def conv_transpose(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    backend: Backend,
    out_channels: int,
    output_padding: Sequence[int],
    coefficients: Tensor | None = None,
) -> Tensor:
    """A transposed layer of any sharing but `Full`, computed by `backend`, which is that of its adjoint.

    Args:
        input: [N, in, *size].
        weight: [K, in, out/groups, *kernel_size], or `LocalRows`' own layout.
        bias: Anything that broadcasts over [N, out, *output_size].
        output_padding: Outputs added at the end of every axis.
        coefficients: [rank, *size], for low rank only.
    """
    window, (x, weight) = backend.window, _autocast(input, weight)
    axes = zip(backend.output_size, window.stride, window.extent, output_padding)
    padded = [(n - 1) * s + e + extra for n, s, e, extra in axes]
    batch = int(input.shape[0]) if torch.jit.is_tracing() else input.shape[0]  # pyright: ignore
    result = backend.transposed(x, weight, (batch, out_channels, *padded), coefficients)
    if any(map(any, window.padding)):
        result = F.pad(result, [-n for pair in reversed(window.padding) for n in pair])
    return _with_bias(_in_format_of(input, result), bias)


def _with_bias(result: Tensor, bias: Tensor | None) -> Tensor:
    if bias is None:
        return result
    return result + (bias if bias.dtype == result.dtype else bias.to(result.dtype))


def _autocast(input: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Both in autocast's dtype where it is on."""
    dtype = autocast_dtype(input.device.type)
    if dtype is None or input.dtype == torch.float64:
        return input, weight
    return input.to(dtype), weight.to(dtype)


def _in_format_of(input: Tensor, output: Tensor) -> Tensor:
    """The output in channels_last where the input is: padding and low rank may have lost it.

    In operations that `torch.func.vmap` knows, as those of `kernels.layout` are not.
    """
    if input.is_contiguous() or not input.movedim(1, -1).is_contiguous():
        return output
    return output.movedim(1, -1).contiguous().movedim(-1, 1)
