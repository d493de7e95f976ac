"""Re-laying inputs and outputs so that one position's numbers lie together, and views of windows on them."""

import itertools
from collections.abc import Iterator, Sequence
from math import ceil, prod

import torch
from torch import Tensor

from ..geometry import Window

#: A side of a matrix shorter than this gains nothing from being transposed in blocks.
SHORT_SIDE = 8
#: Torch's name for the memory layout [N, *size, C], by number of axes.
CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def is_channels_last(tensor: Tensor) -> bool:
    """Whether a tensor [N, C, *size] lies in memory as [N, *size, C], and not as it is read."""
    if tensor.is_contiguous() or tensor.dim() not in CHANNELS_LAST:
        return False
    return tensor.is_contiguous(memory_format=CHANNELS_LAST[tensor.dim()])


def in_format_of(like: Tensor, tensor: Tensor) -> Tensor:
    """[N, C, *size] in the memory format of `like`: channels last, or as it is read."""
    if is_channels_last(like):
        return tensor.contiguous(memory_format=CHANNELS_LAST[tensor.dim()])
    return tensor.contiguous()


def transpose(matrices: Tensor) -> Tensor:
    """[n, rows, columns] -> contiguous [n, columns, rows]."""
    n, rows, columns = matrices.shape
    if n < 2 and matrices.numel():  # torch copies a single transposed matrix in blocks
        return matrices.view(rows, columns).t().contiguous().view(n, columns, rows)
    if matrices.device.type != "cpu" or min(rows, columns) < SHORT_SIDE:
        return matrices.mT.contiguous()
    # shuffling channels transposes each image's, in blocks and on all cores, which copying does not
    strides = (rows * columns, 1, rows * columns, rows * columns)
    channels = matrices.as_strided((n, rows * columns, 1, 1), strides)
    return torch.channel_shuffle(channels, rows).view(n, columns, rows)


def channels_last(input: Tensor) -> Tensor:
    """[N, C, *size] -> contiguous [N, *size, C]."""
    if not input.is_contiguous():
        return input.movedim(1, -1).contiguous()
    batch, channels, *size = input.shape
    return transpose(input.view(batch, channels, prod(size))).view(batch, *size, channels)


def channels_first(input: Tensor, like: Tensor) -> Tensor:
    """Contiguous [N, *size, C] -> [N, C, *size], in the memory format of `like`."""
    if is_channels_last(like):
        return input.movedim(-1, 1)
    batch, *size, channels = input.shape
    return transpose(input.view(batch, prod(size), channels)).view(batch, channels, *size)


def batch_last(input: Tensor) -> Tensor:
    """[N, C, *size] -> contiguous [*size, C, N]."""
    batch, channels, *size = input.shape
    pixels = channels_last(input).view(batch, prod(size), channels).transpose(0, 1).contiguous()
    return transpose(pixels).view(*size, channels, batch)


def from_batch_last(input: Tensor, like: Tensor) -> Tensor:
    """Contiguous [*size, C, N] -> [N, C, *size], in the memory format of `like`."""
    *size, channels, batch = input.shape
    images = transpose(input.view(prod(size), channels, batch)).transpose(0, 1).contiguous()
    return channels_first(images.view(batch, *size, channels), like)


def positions_first(output: Tensor, groups: int) -> Tensor:
    """[N, out, *size] -> contiguous [P, groups, N, out/groups]."""
    batch, out, *size = output.shape
    last = channels_last(output).view(batch, prod(size), groups, out // groups)
    return last.permute(1, 2, 0, 3).contiguous()


def batch_first(output: Tensor, size: Sequence[int], like: Tensor) -> Tensor:
    """[P, groups, N, out/groups] -> [N, out, *size], in the memory format of `like`."""
    last = output.permute(2, 0, 1, 3).contiguous()
    return channels_first(last.view(len(last), *size, last.shape[2] * last.shape[3]), like)


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


def windows_batch_last(
    input: Tensor, window: Window, groups: int, start: Sequence[int], counts: Sequence[int]
) -> Tensor:
    """As `windows`, of contiguous [*padded, in, N] -> [*counts, groups, *kernel_size, in/groups * N]."""
    steps = input.stride()[:-2]
    run = input.shape[-2] // groups * input.shape[-1]
    between = [step * s for step, s in zip(steps, window.stride)]
    taps = [step * d for step, d in zip(steps, window.dilation)]
    return input.as_strided(
        (*counts, groups, *window.kernel_size, run),
        (*between, run, *taps, 1),
        input.storage_offset() + sum(i * step for i, step in zip(start, between)),
    )


def boxes(size: Sequence[int], most: int) -> Iterator[tuple[tuple[int, ...], tuple[int, ...], slice]]:
    """Boxes of at most `most` positions that follow one another in row-major order.

    Yields the first position and the number of positions on every axis, and the positions' numbers.
    """
    axis = next(a for a in range(len(size)) if a == len(size) - 1 or prod(size[a + 1 :]) <= most)
    inner, n = prod(size[axis + 1 :]), size[axis]
    step = ceil(n / ceil(n / max(1, most // inner)))  # boxes alike in size
    at = 0
    for lead in itertools.product(*map(range, size[:axis])):
        for first in range(0, n, step):
            counts = (1,) * axis + (min(step, n - first), *size[axis + 1 :])
            yield (*lead, first, *(0 for _ in size[axis + 1 :])), counts, slice(at, at + prod(counts))
            at += prod(counts)


def group_weights(weight: Tensor, groups: int) -> Tensor:
    """[n, taps, in/groups, out] -> [n * groups, taps * in/groups, out/groups]; a view for one group."""
    n, taps, per_group, out = weight.shape
    return (
        weight.reshape(n, taps * per_group, groups, out // groups)
        .transpose(1, 2)
        .reshape(n * groups, taps * per_group, out // groups)
    )


def ungroup_weights(weight: Tensor, groups: int, shape: Sequence[int]) -> Tensor:
    """The inverse of `group_weights`, in the given shape."""
    rows, depth, out = weight.shape
    return weight.reshape(rows // groups, groups, depth, out).transpose(1, 2).reshape(tuple(shape))
