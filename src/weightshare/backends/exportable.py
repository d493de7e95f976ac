"""The backends in plain torch operators, for programs that run without this package, such as ONNX files.

This code is slower than the backends and keeps all patches in memory. It uses the weights as they are stored,
so that an exported file contains each of them once.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.jit import is_tracing  # pyright: ignore[reportPrivateImportUsage]

from ..geometry import Window
from .layout import CONV, CONV_TRANSPOSE, slice_taps
from .pieces import Piece

_depth = 0


@contextmanager
def portable() -> Generator[None]:
    """Make layers compute with plain torch operators inside the `with` block.

    A program exported by `torch.export.export` inside the block runs without this package.
    `torch.onnx.export` does not need the block, because it makes layers use plain operators automatically.

    Example:
        >>> from weightshare import functional, nn
        >>> layer = nn.LocallyConnected1d(1, 2, 3, input_size=8)
        >>> with functional.portable():
        ...     program = torch.export.export(layer, (torch.zeros(1, 1, 8),))
        >>> any("weightshare" in str(node.target) for node in program.graph.nodes)
        False
    """
    global _depth
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1


def is_portable() -> bool:
    """Return whether layers currently have to compute with plain torch operators."""
    if _depth > 0:
        return True
    exporting = torch.compiler.is_compiling() or is_tracing()
    return exporting and torch.onnx.is_in_onnx_export()


def keep_compact(parameter: Tensor, input: Tensor) -> Tensor:
    """Prevent exporters from storing the expansion of a parameter to all positions.

    In an exported program, this function adds a zero that depends on the input. Otherwise the exporter would
    fold the expansion into a constant with one value per position.
    """
    return parameter + _make_zero(input).to(parameter.dtype) if is_portable() else parameter


def expand_banks(banks: Tensor, labels: Tensor, input: Tensor) -> Tensor:
    """Return bank `labels[p]` for each position p; exporters store the banks unexpanded."""
    return banks[labels + _make_zero(input).long()]


def _make_zero(input: Tensor) -> Tensor:
    """Return a zero that an exporter cannot compute without the input: the sum of no elements."""
    return input.flatten()[:0].sum()


def compute_local_output(
    window: Window, output_size: Sequence[int], groups: int, input: Tensor, weight: Tensor
) -> Tensor:
    """Compute `LocalRows.output` as one product of all patches with all weights."""
    taps = [input[(..., *inputs)] for inputs in slice_taps(window, output_size)]
    patches = torch.stack(taps, 1).flatten(3).unflatten(2, (groups, -1))  # [N, taps, g, in/groups, P]
    rows = patches.permute(4, 2, 0, 1, 3).flatten(3)
    products = torch.matmul(rows, _split_groups(weight, groups))  # [P, g, N, out/groups]
    return products.permute(2, 1, 3, 0).flatten(1, 2).unflatten(2, tuple(output_size))


def compute_local_input_grad(
    window: Window,
    output_size: Sequence[int],
    groups: int,
    grad: Tensor,
    weight: Tensor,
    input_shape: Sequence[int],
) -> Tensor:
    """Compute `LocalRows.input_grad`: a transposed convolution with ones adds all patches to their inputs."""
    rows = grad.flatten(2).unflatten(1, (groups, -1)).permute(3, 1, 0, 2)  # [P, g, N, out/groups]
    patches = torch.matmul(rows, _split_groups(weight, groups).transpose(-2, -1))
    patches = patches.unflatten(3, (window.taps, -1)).permute(2, 1, 4, 3, 0).flatten(0, 2)
    images = patches.unflatten(2, tuple(output_size))  # [N * in, taps, *output_size]
    one_hot = torch.eye(window.taps, dtype=grad.dtype, device=grad.device)
    one_hot = one_hot.view(window.taps, 1, *window.kernel_size)
    conv = CONV_TRANSPOSE[window.ndim]
    result = conv(images, one_hot, None, window.stride, 0, 0, 1, window.dilation)
    result = result.squeeze(1).unflatten(0, (grad.shape[0], input_shape[1]))
    return _pad_to(result, input_shape[2:])


def compute_pieces_output(
    pieces: Sequence[Piece],
    parts: Sequence[Sequence[range]],
    dilation: tuple[int, ...],
    groups: int,
    input: Tensor,
    weight: Tensor,
) -> Tensor:
    """Compute `PieceConvolutions.output` with one convolution per piece, joined axis by axis."""
    conv = CONV[len(parts)]
    results = [
        conv(input[(..., *piece.inputs)], bank, None, piece.stride, 0, dilation, groups)
        for piece, bank in zip(pieces, weight)
    ]
    for axis, ranges in reversed(list(enumerate(parts, 2))):
        n = len(ranges)
        results = [_join(results[first : first + n], ranges, axis) for first in range(0, len(results), n)]
    return results[0]


def compute_pieces_input_grad(
    pieces: Sequence[Piece],
    dilation: tuple[int, ...],
    groups: int,
    grad: Tensor,
    weight: Tensor,
    input_shape: Sequence[int],
) -> Tensor:
    """Compute `PieceConvolutions.input_grad` as the sum of one transposed convolution per piece."""
    conv = CONV_TRANSPOSE[len(dilation)]
    padded = (
        _pad_to(
            conv(grad[(..., *piece.outputs)], bank, None, piece.stride, 0, 0, groups, dilation),
            input_shape[2:],
            [inputs.start for inputs in piece.inputs],
        )
        for piece, bank in zip(pieces, weight)
    )
    result = next(padded)
    for part in padded:
        result = result + part
    return result


def _split_groups(weight: Tensor, groups: int) -> Tensor:
    """Reshape [P, *kernel_size, in/groups, out] to [P, groups, taps * in/groups, out/groups]."""
    return weight.flatten(1, -2).unflatten(2, (groups, -1)).transpose(1, 2)


def _pad_to(part: Tensor, size: Sequence[int], start: Sequence[int] | None = None) -> Tensor:
    """Pad a part with zeros to a spatial size, with its first element at index `start` (by default 0)."""
    begin = [0] * len(size) if start is None else start
    pairs = [(b, n - b - m) for b, n, m in zip(begin, size, part.shape[2:])]
    return F.pad(part, [n for pair in reversed(pairs) for n in pair])


def _join(parts: Sequence[Tensor], ranges: Sequence[range], axis: int) -> Tensor:
    """Join the parts of an axis in the order of their indices: concatenate blocks, interleave phases."""
    if len(parts) == 1:
        return parts[0]
    if ranges[0].step == 1:
        return torch.cat(list(parts), axis)
    longest = max(part.shape[axis] for part in parts)
    padding = (0, 0) * (parts[0].dim() - axis - 1)
    even = [F.pad(part, (*padding, 0, longest - part.shape[axis])) for part in parts]
    return torch.stack(even, axis + 1).flatten(axis, axis + 1).narrow(axis, 0, sum(map(len, ranges)))
