"""The oracle: computes layers from the kernel W[p] of each position. Slow, exact and differentiable.

It shares no code with the backends. Sharings are evaluated position by position from their definitions, numpy
does the padding, and one algorithm covers every window, sharing and number of axes.
"""

import itertools
from collections.abc import Sequence
from math import prod
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from .geometry import Window
from .sharing import Full, Local, LowRank, Mapped, Regional, SharedAlong, Sharing, Tiled

__all__ = ["assignment", "bias_map", "dense_matrix", "output"]

_NUMPY_MODES: dict[str, Literal["reflect", "edge", "wrap"]] = {
    "reflect": "reflect",
    "replicate": "edge",
    "circular": "wrap",
}


def bank_key(sharing: Sharing, position: Sequence[int], out_size: Sequence[int]) -> tuple[int, ...]:
    """Return a key that is the same for exactly the positions that share a bank with `position`.

    >>> bank_key(Regional(2), (0, 3), (4, 4))
    (0, 1)
    """
    ndim = len(out_size)

    def expand(value: int | Sequence[int]) -> Sequence[int]:
        return (value,) * ndim if isinstance(value, int) else value

    if isinstance(sharing, Full | LowRank):
        return ()
    if isinstance(sharing, Local):
        return tuple(position)
    if isinstance(sharing, Tiled):
        return tuple(i % t for i, t in zip(position, expand(sharing.period)))
    if isinstance(sharing, Regional):
        return tuple(i * g // n for i, g, n in zip(position, expand(sharing.grid), out_size))
    if isinstance(sharing, SharedAlong):
        axes = (sharing.axes,) if isinstance(sharing.axes, int) else sharing.axes
        shared = {axis + ndim if axis < 0 else axis for axis in axes}
        return tuple(i for axis, i in enumerate(position) if axis not in shared)
    if isinstance(sharing, Mapped):
        return (np.array(sharing.flat).reshape(sharing.shape)[tuple(position)],)
    raise TypeError(f"no definition for {sharing!r}")


def assignment(
    sharing: Sharing, out_size: Sequence[int], coefficients: dict[str, Tensor] | None = None
) -> Tensor:
    """Return the assignment A [P, K] of a sharing.

    Args:
        coefficients: Parameters of a `LowRank` by name. The result has their dtype; for all other sharings it
            is float64.
    """
    positions = list(itertools.product(*map(range, out_size)))
    if isinstance(sharing, LowRank):
        named = {} if coefficients is None else coefficients
        rows: list[Tensor] = []
        for p in positions:
            if sharing.coefficients == "free":
                row = named["coefficients"][(slice(None), *p)]
            else:
                terms = [named[f"coefficients_{axis}"][:, i] for axis, i in enumerate(p)]
                row = torch.stack(terms).sum(0)
            rows.append(torch.cat([row.new_ones(1), row]))
        return torch.stack(rows)
    keys = [bank_key(sharing, p, out_size) for p in positions]
    order = {key: bank for bank, key in enumerate(sorted(set(keys)))}
    matrix = torch.zeros(len(positions), len(order), dtype=torch.float64)
    for row, key in enumerate(keys):
        matrix[row, order[key]] = 1
    return matrix


def input_table(
    window: Window,
    input_size: Sequence[int],
    padding_mode: str | Sequence[str] = "zeros",
    out_size: Sequence[int] | None = None,
) -> Tensor:
    """Return the flat index of the input element under each tap of each position [P, taps].

    For zero padding, the index is the number of input elements.

    Args:
        out_size: Number of positions on each axis; None for as many as fit.
    """
    indices = np.arange(prod(input_size)).reshape(tuple(input_size))
    padded, ndim = indices, len(window.padding)
    for axis, pair in enumerate(window.padding):
        mode = padding_mode if isinstance(padding_mode, str) else padding_mode[axis]
        pairs = [pair if other == axis else (0, 0) for other in range(ndim)]
        if mode == "zeros":
            padded = np.pad(padded, pairs, constant_values=indices.size)
        else:
            padded = np.pad(padded, pairs, mode=_NUMPY_MODES[mode])
    out_size = window.output_size(input_size) if out_size is None else out_size
    rows: list[np.ndarray] = []
    for position in itertools.product(*map(range, out_size)):
        taps = [
            [i * s + t * d for t in range(k)]
            for i, s, k, d in zip(position, window.stride, window.kernel_size, window.dilation)
        ]
        rows.append(padded[np.ix_(*taps)].ravel())
    return torch.from_numpy(np.stack(rows))


def kernels_by_position(layer: Any) -> Tensor:
    """Return the kernel W[p] of each position.

    Shape:
        [P, out, in/groups, taps]; for a transposed layer [P, in, out/groups, taps]
    """
    banks = layer.kernels().flatten(3)
    size = layer.input_size if layer.transposed else layer.output_size
    matrix = assignment(layer.sharing, size, dict(layer.named_parameters(recurse=False)))
    return torch.einsum("pk,koct->poct", matrix.to(banks), banks)


def output(layer: Any, input: Tensor) -> Tensor:
    """Return the output that a layer must have for a batch of inputs.

    Shape:
        [N, in, *size] -> [N, out, *output_size]; for a `SharedLinear` [N, n_in] -> [N, n_out]
    """
    if hasattr(layer, "pattern"):
        return _compute_shared_linear(layer, input)
    if layer.transposed:
        return _compute_transposed(layer, input)
    kernels = kernels_by_position(layer)
    table = input_table(layer.window, input.shape[2:], layer.padding_mode).to(input.device)
    batch, groups = input.shape[0], layer.groups
    flat = torch.cat([input.flatten(2), input.new_zeros(*input.shape[:2], 1)], dim=2)
    patches = flat[:, :, table].unflatten(1, (groups, -1))
    result = torch.einsum("ngcpt,pgoct->ngop", patches, kernels.unflatten(1, (groups, -1)))
    result = result.reshape(batch, layer.out_channels, *layer.output_size)
    return result + bias_map(layer)


def _compute_shared_linear(layer: Any, input: Tensor) -> Tensor:
    """Multiply the input by the matrix to which each connection of the pattern adds its weight."""
    pattern = layer.pattern
    rows, columns, ids = (torch.tensor(column, device=input.device) for column in pattern.edges.T)
    matrix = input.new_zeros(pattern.n_out, pattern.n_in)
    matrix = matrix.index_put((rows, columns), layer.weight[ids], accumulate=True)
    result = torch.einsum("ni,oi->no", input, matrix)
    return result if layer.bias is None else result + layer.bias[torch.tensor(pattern.bias)].to(result)


def _compute_transposed(layer: Any, input: Tensor) -> Tensor:
    """Add the kernel of each input position, multiplied by its value, to the outputs under its taps."""
    batch, groups, size = input.shape[0], layer.groups, layer.output_size
    kernels = kernels_by_position(layer).unflatten(1, (groups, -1))
    table = input_table(layer.window, size, out_size=layer.input_size).to(input.device)
    values = input.flatten(2).unflatten(1, (groups, -1))
    added = torch.einsum("ngcp,pgcot->ngopt", values, kernels).reshape(batch, layer.out_channels, -1)
    result = added.new_zeros(batch, layer.out_channels, prod(size) + 1)
    result = result.index_add(2, table.flatten(), added)[..., :-1]
    return result.reshape(batch, layer.out_channels, *size) + bias_map(layer)


def bias_map(layer: Any) -> Tensor:
    """Return the bias of each output element [out, *output_size]; zeros for a layer without bias."""
    shape = (layer.out_channels, *layer.output_size)
    if layer.bias is None:
        return layer.weight.new_zeros(shape)
    matrix = assignment(layer.bias_sharing, layer.output_size).to(layer.bias)
    return (matrix @ layer.bias.reshape(-1, layer.out_channels)).T.reshape(shape)


def dense_matrix(layer: Any, input_size: Sequence[int]) -> Tensor:
    """Return the matrix of a layer [out * outputs, in * inputs], with channels outermost and without bias."""
    if layer.transposed:
        table = input_table(layer.window, layer.output_size, out_size=input_size)
        return _build_dense_matrix(
            layer, table, prod(layer.output_size), layer.in_channels, layer.out_channels
        ).T
    table = input_table(layer.window, input_size, layer.padding_mode)
    return _build_dense_matrix(layer, table, prod(input_size), layer.out_channels, layer.in_channels)


def _build_dense_matrix(
    layer: Any, table: Tensor, window_size: int, position_channels: int, window_channels: int
) -> Tensor:
    """Return the matrix from the window side to the position side, entry by entry.

    Shape:
        [position_channels * P, window_channels * window_size]

    Args:
        table: Flat index of the element under each tap of each position [P, taps]; `window_size` for padding.
        window_size: Number of elements per channel on the window side.
        position_channels: Number of channels on the position side, which is the output, or the input of a
            transposed layer.
        window_channels: Number of channels on the window side.
    """
    kernels, per_group = kernels_by_position(layer), window_channels // layer.groups
    matrix = kernels.new_zeros(position_channels, len(table), window_channels, window_size + 1)
    for channel in range(position_channels):
        first = channel // (position_channels // layer.groups) * per_group
        for p, row in enumerate(table.tolist()):
            for t, element in enumerate(row):
                matrix[channel, p, first : first + per_group, element] += kernels[p, channel, :, t]
    matrix = matrix[..., :window_size]  # without the column for padding
    return matrix.reshape(position_channels * len(table), window_channels * window_size)
