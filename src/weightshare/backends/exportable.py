"""The kernels in plain operators of torch, for programs that leave torch: ONNX knows no operators of ours.

Slower, and with all patches in memory; the weights go in as they are stored, so that an exported file holds
them once.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor

from .layout import CONV, CONV_TRANSPOSE, seen_by_taps

_depth = 0


@contextmanager
def portable() -> Iterator[None]:
    """Inside, layers compute by plain operators of torch, as they do by themselves in `torch.onnx.export`.

    For a program from `torch.export.export` that is to run without this package.

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


def is_wanted() -> bool:
    """Whether layers are to compute by plain operators now."""
    if _depth > 0:
        return True
    exporting = torch.compiler.is_compiling() or torch.jit.is_tracing()  # pyright: ignore
    return exporting and torch.onnx.is_in_onnx_export()


def stored(parameter: Tensor, input: Tensor) -> Tensor:
    """The parameter, for a few numbers that are spread over all positions.

    Inside, a zero is added that only the input gives: an exporter would else spread the numbers beforehand
    and store one for every position.
    """
    return parameter + _zero_of(input).to(parameter.dtype) if is_wanted() else parameter


def spread(banks: Tensor, labels: Tensor, input: Tensor) -> Tensor:
    """Bank `labels[p]` for every position p; as `stored`, not beforehand."""
    return banks[labels + _zero_of(input).long()]


def _zero_of(input: Tensor) -> Tensor:
    """The sum of none of its numbers."""
    return input.flatten()[:0].sum()


def local_output(backend, input: Tensor, weight: Tensor) -> Tensor:
    """`LocalRows.output`: all patches, times all weights."""
    groups, window = backend.groups, backend.window
    taps = [input[(..., *where)] for where in seen_by_taps(window, backend.output_size)]
    patches = torch.stack(taps, 1).flatten(3).unflatten(2, (groups, -1))  # [N, taps, g, in/groups, P]
    rows = patches.permute(4, 2, 0, 1, 3).flatten(3)
    products = torch.matmul(rows, _by_group(weight, groups))  # [P, g, N, out/groups]
    return products.permute(2, 1, 3, 0).flatten(1, 2).unflatten(2, backend.output_size)


def local_transposed(backend, input: Tensor, weight: Tensor, padded_shape: Sequence[int]) -> Tensor:
    """`LocalRows.input_grad`: all patches, put where they belong by a transposed convolution with ones."""
    groups, window, taps = backend.groups, backend.window, backend.window.taps
    rows = input.flatten(2).unflatten(1, (groups, -1)).permute(3, 1, 0, 2)  # [P, g, N, out/groups]
    patches = torch.matmul(rows, _by_group(weight, groups).transpose(-2, -1)).unflatten(3, (taps, -1))
    images = patches.permute(2, 1, 4, 3, 0).flatten(0, 2).unflatten(2, backend.output_size)  # one a channel
    places = torch.eye(taps, dtype=input.dtype, device=input.device).view(taps, 1, *window.kernel_size)
    conv = CONV_TRANSPOSE[window.ndim]
    result = conv(images, places, None, window.stride, 0, 0, 1, window.dilation)
    result = result.squeeze(1).unflatten(0, (input.shape[0], padded_shape[1]))
    return _grown(result, padded_shape[2:])


def pieces_output(backend, input: Tensor, weight: Tensor) -> Tensor:
    """`PieceConvolutions.output`: a convolution for each piece, put together axis by axis."""
    conv = CONV[backend.window.ndim]
    results = [
        conv(input[(..., *piece.seen)], bank, None, piece.stride, 0, backend.window.dilation, backend.groups)
        for piece, bank in zip(backend.pieces, weight)
    ]
    for axis in reversed(range(backend.window.ndim)):
        parts = backend.parts[axis]
        rows = [results[first : first + len(parts)] for first in range(0, len(results), len(parts))]
        results = [_joined(row, parts, axis + 2) for row in rows]
    return results[0]


def pieces_transposed(backend, input: Tensor, weight: Tensor, padded_shape: Sequence[int]) -> Tensor:
    """`PieceConvolutions.input_grad`: a transposed convolution for each piece, all added up."""
    conv, size = CONV_TRANSPOSE[backend.window.ndim], padded_shape[2:]
    result = None
    for piece, bank in zip(backend.pieces, weight):
        part = input[(..., *piece.written)]
        part = conv(part, bank, None, piece.stride, 0, 0, backend.groups, backend.window.dilation)
        part = _grown(part, size, [where.start for where in piece.seen])
        result = part if result is None else result + part
    assert result is not None
    return result


def _by_group(weight: Tensor, groups: int) -> Tensor:
    """[P, *kernel_size, in/groups, out] -> [P, groups, taps * in/groups, out/groups]."""
    return weight.flatten(1, -2).unflatten(2, (groups, -1)).transpose(1, 2)


def _grown(part: Tensor, size: Sequence[int], start: Sequence[int] | None = None) -> Tensor:
    """Zeros around, so that the part lies in `size` from `start` on."""
    begin = [0] * len(size) if start is None else start
    pairs = [(b, n - b - m) for b, n, m in zip(begin, size, part.shape[2:])]
    return F.pad(part, [n for pair in reversed(pairs) for n in pair])


def _joined(parts: Sequence[Tensor], ranges: Sequence[range], axis: int) -> Tensor:
    """The parts of an axis in the order of their indices: blocks behind one another, or phases in turn."""
    if len(parts) == 1:
        return parts[0]
    if ranges[0].step == 1:
        return torch.cat(list(parts), axis)
    longest = max(part.shape[axis] for part in parts)
    padding = (0, 0) * (parts[0].dim() - axis - 1)
    even = [F.pad(part, (*padding, 0, longest - part.shape[axis])) for part in parts]
    return torch.stack(even, axis + 1).flatten(axis, axis + 1).narrow(axis, 0, sum(map(len, ranges)))
