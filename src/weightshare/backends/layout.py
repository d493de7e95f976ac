"""Re-laying inputs and outputs so that one position's numbers lie together, and what positions see."""

import itertools
from collections.abc import Iterator, Sequence
from math import ceil, prod

import torch
import torch.nn.functional as F
from torch import Tensor

from ..geometry import Window

#: A side of a matrix shorter than this gains nothing from being transposed in blocks.
SHORT_SIDE = 8
#: A tensor with fewer numbers than this is copied in one go, however its runs lie.
SMALL = 2**14
#: Torch's functions by number of spatial axes.
CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
CONV_TRANSPOSE = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
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
        return in_format(CHANNELS_LAST[tensor.dim()], tensor)
    return in_format(torch.contiguous_format, tensor)


def in_format(format: torch.memory_format, tensor: Tensor) -> Tensor:
    """[N, C, *size] in a memory format."""
    if tensor.numel() < SMALL or tensor.is_contiguous(memory_format=format):
        return tensor.contiguous(memory_format=format)
    if format == torch.contiguous_format and is_channels_last(tensor):
        return channels_first(tensor.movedim(1, -1), like=tensor.new_empty(0))
    if format != torch.contiguous_format and tensor.is_contiguous():
        return channels_last(tensor).movedim(-1, 1)
    return tensor.contiguous(memory_format=format)


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


def by_channel(input: Tensor) -> Tensor:
    """[N, C, *size], with the channels of a pixel side by side in memory; a small one as it is."""
    return input if input.numel() < SMALL else channels_last(input).movedim(-1, 1)


def by_image(input: Tensor) -> Tensor:
    """[N, C, *size], in memory images innermost, then channels; a small one as it is."""
    if input.numel() < SMALL:
        return input
    batch, channels, *size = input.shape
    rows = channels_last(input).view(batch, size[0], prod(size[1:]) * channels)
    return shown(transpose(rows.transpose(0, 1).contiguous()).view(*size, channels, batch))


def shown(input: Tensor) -> Tensor:
    """[*size, C, N] as a view [N, C, *size]."""
    return input.movedim((-1, -2), (0, 1))


def from_by_image(input: Tensor, like: Tensor) -> Tensor:
    """Contiguous [*size, C, N] -> [N, C, *size], in the memory format of `like`."""
    if input.numel() < SMALL:
        return in_format_of(like, shown(input))
    *size, channels, batch = input.shape
    rows = transpose(input.view(size[0], prod(size[1:]) * channels, batch))
    return channels_first(rows.transpose(0, 1).contiguous().view(batch, *size, channels), like)


def positions_first(output: Tensor, groups: int) -> Tensor:
    """[N, out, *size] -> contiguous [P, groups, N, out/groups]."""
    last = output.movedim(1, -1) if output.numel() < SMALL else channels_last(output)
    return last.flatten(1, -2).unflatten(2, (groups, -1)).permute(1, 2, 0, 3).contiguous()


def batch_first(output: Tensor, size: Sequence[int], like: Tensor) -> Tensor:
    """[P, groups, N, out/groups] -> [N, out, *size], in the memory format of `like`."""
    if output.numel() < SMALL:
        return in_format_of(like, output.permute(2, 1, 3, 0).flatten(1, 2).unflatten(2, tuple(size)))
    last = output.permute(2, 0, 1, 3).contiguous()
    return channels_first(last.view(len(last), *size, last.shape[2] * last.shape[3]), like)


def windows(
    input: Tensor, window: Window, groups: int, start: Sequence[int], counts: Sequence[int]
) -> Tensor:
    """The windows of a box of positions as an overlapping view of the input; nothing is copied.

    Args:
        input: [N, in, *padded], in any layout.
        start: First output position of the box, on every axis.
        counts: Positions in the box, on every axis.

    Returns:
        [*counts, groups, N, *kernel_size, in/groups].
    """
    batch, channel, *steps = input.stride()
    per_group = input.shape[1] // groups
    between = [step * s for step, s in zip(steps, window.stride)]
    taps = [step * d for step, d in zip(steps, window.dilation)]
    return input.as_strided(
        (*counts, groups, input.shape[0], *window.kernel_size, per_group),
        (*between, per_group * channel, batch, *taps, channel),
        input.storage_offset() + sum(i * step for i, step in zip(start, between)),
    )


def seen_by_taps(window: Window, output_size: Sequence[int]) -> list[tuple[slice, ...]]:
    """For every tap, which inputs the positions see through it."""
    return [
        tuple(
            slice(t * d, t * d + (n - 1) * s + 1, s)
            for t, d, n, s in zip(tap, window.dilation, output_size, window.stride)
        )
        for tap in itertools.product(*map(range, window.kernel_size))
    ]


def images_last(windows: Tensor) -> Tensor:
    """[*counts, groups, N, *kernel_size, in/groups] -> [*counts, groups, *kernel_size, in/groups, N]."""
    return windows.movedim(windows.dim() // 2, -1)


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
