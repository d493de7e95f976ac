"""Choosing the kernel that computes a layer, padding its input and adding its bias."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from .geometry import Window
from .kernels import BasisConvolutions, GatheredPositions, Kernel, LocalRows, PieceConvolutions
from .sharing import LowRank, Separable, Sharing


def choose(sharing: Sharing, window: Window, output_size: Sequence[int], groups: int) -> Kernel:
    """The kernel that computes a layer of this sharing (`Full` is torch's own convolution and needs none)."""
    size = tuple(output_size)
    if isinstance(sharing, LowRank):
        return BasisConvolutions(window, size, groups)
    if isinstance(sharing, Separable):
        parts = sharing.parts(size)
        if all(len(axis) == n for axis, n in zip(parts, size)):
            return LocalRows(window, size, groups)
        return PieceConvolutions(window, size, groups, tuple(map(tuple, parts)))
    positions: list[list[int]] = [[] for _ in range(sharing.banks(size))]
    for position, bank in enumerate(sharing.labels(size)):
        positions[bank].append(position)
    return GatheredPositions(window, size, groups, tuple(map(tuple, positions)))


def pad(input: Tensor, window: Window, padding_mode: str) -> Tensor:
    """[N, C, *size] -> [N, C, *padded], with torch's meaning of the four padding modes."""
    if not any(map(any, window.padding)):
        return input
    amounts = [n for pair in reversed(window.padding) for n in pair]
    return F.pad(input, amounts, mode="constant" if padding_mode == "zeros" else padding_mode)


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
    kernel: Kernel,
    padding_mode: str = "zeros",
    coefficients: Tensor | None = None,
) -> Tensor:
    """A layer of any sharing but `Full`, computed by `kernel`.

    Args:
        input: [N, in, *size].
        weight: [K, out, in/groups, *kernel_size], or `LocalRows`' own layout.
        bias: Anything that broadcasts over [N, out, *output_size].
        coefficients: [rank, *output_size], for low rank only.
    """
    result = kernel(pad(input, kernel.window, padding_mode), weight, coefficients)
    return result if bias is None else result + bias
