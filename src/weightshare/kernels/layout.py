"""Re-laying inputs and outputs so that one position's numbers lie together, and views of windows on them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..geometry import Window


def channels_last(input: Tensor) -> Tensor:
    """[N, C, *size] -> contiguous [N, *size, C]."""
    return input.movedim(1, -1).contiguous()


def channels_first(input: Tensor) -> Tensor:
    """[N, *size, C] -> contiguous [N, C, *size]."""
    return input.movedim(-1, 1).contiguous()


def positions_first(output: Tensor, groups: int) -> Tensor:
    """[N, out, *size] -> contiguous [*size, groups, N, out/groups]."""
    return output.unflatten(1, (groups, -1)).movedim((1, 0, 2), (-3, -2, -1)).contiguous()


def batch_first(output: Tensor) -> Tensor:
    """[*size, groups, N, out/groups] -> contiguous [N, out, *size]."""
    *size, groups, batch, out = output.shape
    if groups == 1 and batch * out:  # a plain transpose of a matrix is copied faster
        return output.reshape(-1, batch * out).t().contiguous().view(batch, out, *size)
    return output.movedim((-2, -3, -1), (0, 1, 2)).flatten(1, 2).contiguous()


def windows(
    input: Tensor, window: Window, groups: int, start: Sequence[int], counts: Sequence[int]
) -> Tensor:
    """The windows of a box of positions as an overlapping view of the input; nothing is copied.

    Args:
        input: Contiguous [N, *padded, in].
        start: First output position of the box, on every axis.
        counts: Positions in the box, on every axis.

    Returns:
        [*counts, groups, N, *kernel_size, in/groups].
    """
    batch, *steps, _ = input.stride()
    per_group = input.shape[-1] // groups
    between = [step * s for step, s in zip(steps, window.stride)]
    taps = [step * d for step, d in zip(steps, window.dilation)]
    return input.as_strided(
        (*counts, groups, input.shape[0], *window.kernel_size, per_group),
        (*between, per_group, batch, *taps, 1),
        input.storage_offset() + sum(i * step for i, step in zip(start, between)),
    )


def group_weights(weight: Tensor, groups: int) -> Tensor:
    """[n, taps, in/groups, out] -> [n * groups, taps * in/groups, out/groups]; a view for one group."""
    n, taps, per_group, out = weight.shape
    return (
        weight.reshape(n, taps * per_group, groups, out // groups)
        .transpose(1, 2)
        .reshape(n * groups, taps * per_group, out // groups)
    )


def ungroup_weights(weight: Tensor, groups: int, shape: torch.Size) -> Tensor:
    """The inverse of `group_weights`, in the given shape."""
    rows, depth, out = weight.shape
    return weight.reshape(rows // groups, groups, depth, out).transpose(1, 2).reshape(shape)
