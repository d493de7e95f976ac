"""Rearrange inputs, outputs and weights in memory, and locate the inputs that each position reads."""

import itertools
from collections.abc import Iterator, Sequence
from math import ceil, prod

import torch
import torch.nn.functional as F
from torch import Tensor

from ..geometry import Window

#: Matrices with a side shorter than this are not transposed in blocks, because that is not faster.
SHORT_SIDE = 8
#: Tensors with fewer elements than this are copied directly, because rearranging them first is not faster.
SMALL = 2**14
#: Convolution functions of torch by number of spatial axes.
CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
CONV_TRANSPOSE = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
#: Torch's channels-last memory format [N, *size, C], by number of tensor axes.
CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def is_channels_last(tensor: Tensor) -> bool:
    """Return whether [N, C, *size] is stored as [N, *size, C]; False if it is contiguous in both orders."""
    if tensor.is_contiguous() or tensor.dim() not in CHANNELS_LAST:
        return False
    return tensor.is_contiguous(memory_format=CHANNELS_LAST[tensor.dim()])


def to_format_of(like: Tensor, tensor: Tensor) -> Tensor:
    """Return [N, C, *size] in the memory format of `like`: channels last if it is, else contiguous."""
    if is_channels_last(like):
        return to_format(CHANNELS_LAST[tensor.dim()], tensor)
    return to_format(torch.contiguous_format, tensor)


def to_format(format: torch.memory_format, tensor: Tensor) -> Tensor:
    """Return [N, C, *size] in a memory format, like `Tensor.contiguous` but faster for large tensors."""
    if tensor.numel() < SMALL or tensor.is_contiguous(memory_format=format):
        return tensor.contiguous(memory_format=format)
    if format == torch.contiguous_format and is_channels_last(tensor):
        return move_channels_first(tensor.movedim(1, -1), like=tensor.new_empty(0))
    if format != torch.contiguous_format and tensor.is_contiguous():
        return move_channels_last(tensor).movedim(-1, 1)
    return tensor.contiguous(memory_format=format)


def transpose(matrices: Tensor) -> Tensor:
    """Transpose [n, rows, columns] to contiguous [n, columns, rows]."""
    n, rows, columns = matrices.shape
    if n < 2 and matrices.numel():  # torch already copies a single transposed matrix in blocks
        return matrices.view(rows, columns).t().contiguous().view(n, columns, rows)
    if matrices.device.type != "cpu" or min(rows, columns) < SHORT_SIDE:
        return matrices.mT.contiguous()
    # channel_shuffle transposes each matrix in blocks and on all cores; a copy does neither
    strides = (rows * columns, 1, rows * columns, rows * columns)
    channels = matrices.as_strided((n, rows * columns, 1, 1), strides)
    return torch.channel_shuffle(channels, rows).view(n, columns, rows)


def move_channels_last(input: Tensor) -> Tensor:
    """Rearrange [N, C, *size] to contiguous [N, *size, C]."""
    if not input.is_contiguous():
        return input.movedim(1, -1).contiguous()
    batch, channels, *size = input.shape
    return transpose(input.view(batch, channels, prod(size))).view(batch, *size, channels)


def move_channels_first(input: Tensor, like: Tensor) -> Tensor:
    """Rearrange contiguous [N, *size, C] to [N, C, *size] in the memory format of `like`."""
    if is_channels_last(like):
        return input.movedim(-1, 1)
    batch, *size, channels = input.shape
    return transpose(input.view(batch, prod(size), channels)).view(batch, channels, *size)


def pack_channels(input: Tensor) -> Tensor:
    """Return [N, C, *size] with the channels adjacent in memory; small inputs are returned unchanged."""
    return input if input.numel() < SMALL else move_channels_last(input).movedim(-1, 1)


def pack_images(input: Tensor) -> Tensor:
    """Return [N, C, *size] stored as [*size, C, N]; small inputs are returned unchanged."""
    if input.numel() < SMALL:
        return input
    batch, channels, *size = input.shape
    rows = move_channels_last(input).view(batch, size[0], prod(size[1:]) * channels)
    return view_batch_first(transpose(rows.transpose(0, 1).contiguous()).view(*size, channels, batch))


def view_batch_first(input: Tensor) -> Tensor:
    """Return [*size, C, N] as a view [N, C, *size]."""
    return input.movedim((-1, -2), (0, 1))


def unpack_images(input: Tensor, like: Tensor) -> Tensor:
    """Rearrange contiguous [*size, C, N] to [N, C, *size] in the memory format of `like`."""
    if input.numel() < SMALL:
        return to_format_of(like, view_batch_first(input))
    *size, channels, batch = input.shape
    rows = transpose(input.view(size[0], prod(size[1:]) * channels, batch))
    rows = rows.transpose(0, 1).contiguous().view(batch, *size, channels)
    return move_channels_first(rows, like)


def split_positions(output: Tensor, groups: int) -> Tensor:
    """Rearrange [N, out, *size] to contiguous [P, groups, N, out/groups]."""
    last = output.movedim(1, -1) if output.numel() < SMALL else move_channels_last(output)
    return last.flatten(1, -2).unflatten(2, (groups, -1)).permute(1, 2, 0, 3).contiguous()


def merge_positions(output: Tensor, size: Sequence[int], like: Tensor) -> Tensor:
    """Rearrange [P, groups, N, out/groups] to [N, out, *size] in the memory format of `like`."""
    if output.numel() < SMALL:
        merged = output.permute(2, 1, 3, 0).flatten(1, 2).unflatten(2, tuple(size))
        return to_format_of(like, merged)
    last = output.permute(2, 0, 1, 3).contiguous()
    return move_channels_first(last.view(len(last), *size, last.shape[2] * last.shape[3]), like)


def view_windows(
    input: Tensor, window: Window, groups: int, start: Sequence[int], counts: Sequence[int]
) -> Tensor:
    """Return the windows of a box of positions as an overlapping view of the input.

    Args:
        input: [N, in, *padded], with any strides.
        window: Window of the layer. The input is already padded.
        groups: Number of channel groups.
        start: First output position of the box, per axis.
        counts: Number of positions in the box, per axis.

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


def slice_taps(window: Window, output_size: Sequence[int]) -> list[tuple[slice, ...]]:
    """Return, for each tap, the slices of the inputs that the positions read with it."""
    return [
        tuple(
            slice(t * d, t * d + (n - 1) * s + 1, s)
            for t, d, n, s in zip(tap, window.dilation, output_size, window.stride)
        )
        for tap in itertools.product(*map(range, window.kernel_size))
    ]


def move_images_last(windows: Tensor) -> Tensor:
    """View [*counts, groups, N, *kernel_size, in/groups] as [*counts, groups, *kernel_size, in/groups, N]."""
    return windows.movedim(windows.dim() // 2, -1)


def split_grid(size: Sequence[int], most: int) -> Iterator[tuple[tuple[int, ...], tuple[int, ...], slice]]:
    """Split a grid of positions into boxes of at most `most` positions, in row-major order.

    Yields:
        The first position of a box, its number of positions per axis, and the slice of their indices.
    """
    axis = next(a for a in range(len(size)) if a == len(size) - 1 or prod(size[a + 1 :]) <= most)
    inner, n = prod(size[axis + 1 :]), size[axis]
    step = ceil(n / ceil(n / max(1, most // inner)))  # boxes of similar size
    at = 0
    for lead in itertools.product(*map(range, size[:axis])):
        for first in range(0, n, step):
            counts = (1,) * axis + (min(step, n - first), *size[axis + 1 :])
            yield (*lead, first, *(0 for _ in size[axis + 1 :])), counts, slice(at, at + prod(counts))
            at += prod(counts)


def group_weights(weight: Tensor, groups: int) -> Tensor:
    """Rearrange [n, taps, in/groups, out] to [n * groups, taps * in/groups, out/groups]."""
    n, taps, per_group, out = weight.shape
    return (
        weight.reshape(n, taps * per_group, groups, out // groups)
        .transpose(1, 2)
        .reshape(n * groups, taps * per_group, out // groups)
    )


def ungroup_weights(weight: Tensor, groups: int, shape: Sequence[int]) -> Tensor:
    """Undo `group_weights` and return the weights in the given shape."""
    rows, depth, out = weight.shape
    return weight.reshape(rows // groups, groups, depth, out).transpose(1, 2).reshape(tuple(shape))
