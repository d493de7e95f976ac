"""Choosing the kernel that computes a layer, padding its input and adding its bias."""

from collections.abc import Sequence

import torch
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


def bank_index(sharing: Sharing, output_size: Sequence[int]) -> list[Tensor | None]:
    """What `spread` needs of a one-hot sharing: one index an axis if separable, else one for all positions.

    None where an axis has one part for all its positions or one for each.
    """
    if not isinstance(sharing, Separable):
        return [torch.tensor(sharing.labels(output_size), device="cpu")]
    index: list[Tensor | None] = []
    for parts, n in zip(sharing.parts(output_size), output_size):
        part_of = {i: number for number, part in enumerate(parts) for i in part}
        labels = torch.tensor([part_of[i] for i in range(n)], device="cpu")
        index.append(None if len(parts) in (1, n) else labels)
    return index


def spread(
    values: Tensor, sharing: Sharing, output_size: Sequence[int], index: Sequence[Tensor | None]
) -> Tensor:
    """[K, out], one row a bank -> what broadcasts to [out, *output_size], one column a position."""
    if not isinstance(sharing, Separable):
        (labels,) = index
        return values[labels.to(values.device)].T.unflatten(1, tuple(output_size))  # type: ignore[union-attr]
    result = values.T.unflatten(1, [len(parts) for parts in sharing.parts(output_size)])
    for axis, labels in enumerate(index, 1):
        if labels is not None:
            result = result.index_select(axis, labels.to(values.device))
    return result


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
    return result if bias is None else result + bias.to(result.dtype)
