"""The oracle: builds the kernel W[p] of every position and multiplies. Slow, exact, differentiable.

It shares no code with the fast path: sharings are written out here position by position from their
definitions, padding is numpy's, and there is one algorithm for every window, sharing and number of axes.
"""

import itertools
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .geometry import Window
from .sharing import Full, Local, LowRank, Mapped, Regional, SharedAlong, Sharing, Tiled

_NUMPY_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def bank_key(sharing: Sharing, position: Sequence[int], out_size: Sequence[int]) -> tuple:
    """What the positions that share with `position` have in common, from the sharing's definition.

    >>> bank_key(Regional(2), (0, 3), (4, 4))
    (0, 1)
    """
    ndim = len(out_size)

    def on_axes(value):
        return (value,) * ndim if isinstance(value, int) else value

    if isinstance(sharing, Full | LowRank):
        return ()
    if isinstance(sharing, Local):
        return tuple(position)
    if isinstance(sharing, Tiled):
        return tuple(i % t for i, t in zip(position, on_axes(sharing.period)))
    if isinstance(sharing, Regional):
        return tuple(i * g // n for i, g, n in zip(position, on_axes(sharing.grid), out_size))
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
    """The matrix A [P, K] of the sharing; float64 but for learned coefficients, which keep their dtype."""
    positions = list(itertools.product(*map(range, out_size)))
    if isinstance(sharing, LowRank):
        rows = []
        for p in positions:
            if sharing.coefficients == "free":
                row = coefficients["coefficients"][(slice(None), *p)]  # type: ignore[index]
            else:
                terms = [coefficients[f"coefficients_{a}"][:, i] for a, i in enumerate(p)]  # type: ignore
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
    padding_mode: str = "zeros",
    out_size: Sequence[int] | None = None,
) -> Tensor:
    """Flat input index under every tap of every position [P, taps]; the input's size where it is padding.

    Args:
        out_size: Positions on every axis; None for as many as fit.
    """
    numbers = np.arange(prod(input_size)).reshape(tuple(input_size))
    fill = {"constant_values": numbers.size} if padding_mode == "zeros" else {}
    padded = np.pad(numbers, window.padding, mode=_NUMPY_MODES[padding_mode], **fill)  # type: ignore
    out_size = window.output_size(input_size) if out_size is None else out_size
    rows = []
    for position in itertools.product(*map(range, out_size)):
        taps = [
            [i * s + t * d for t in range(k)]
            for i, s, k, d in zip(position, window.stride, window.kernel_size, window.dilation)
        ]
        rows.append(padded[np.ix_(*taps)].ravel())
    return torch.from_numpy(np.stack(rows))


def kernels_by_position(layer: Any) -> Tensor:
    """The kernel W[p] of every position [P, out, in/groups, taps]; transposed [P, in, out/groups, taps]."""
    banks = layer.kernels().flatten(3)
    size = layer.input_size if layer.transposed else layer.output_size
    matrix = assignment(layer.sharing, size, dict(layer.named_parameters(recurse=False)))
    return torch.einsum("pk,koct->poct", matrix.to(banks), banks)


def output(layer: Any, input: Tensor) -> Tensor:
    """What the layer should give for a batched input [N, in, *size] -> [N, out, *output_size].

    Of a `SharedLinear` [N, n_in] -> [N, n_out].
    """
    if hasattr(layer, "pattern"):
        return _shared_linear_output(layer, input)
    if layer.transposed:
        return _transposed_output(layer, input)
    kernels = kernels_by_position(layer)
    table = input_table(layer.window, input.shape[2:], layer.padding_mode).to(input.device)
    batch, groups = input.shape[0], layer.groups
    flat = torch.cat([input.flatten(2), input.new_zeros(*input.shape[:2], 1)], dim=2)
    patches = flat[:, :, table].unflatten(1, (groups, -1))
    result = torch.einsum("ngcpt,pgoct->ngop", patches, kernels.unflatten(1, (groups, -1)))
    result = result.reshape(batch, layer.out_channels, *layer.output_size)
    return result + bias_map(layer)


def _shared_linear_output(layer: Any, input: Tensor) -> Tensor:
    """The matrix, every connection's weight added at its place, times the input."""
    pattern = layer.pattern
    rows, columns, ids = (torch.tensor(column, device=input.device) for column in pattern.edges.T)
    matrix = input.new_zeros(pattern.n_out, pattern.n_in)
    matrix = matrix.index_put((rows, columns), layer.weight[ids], accumulate=True)
    result = torch.einsum("ni,oi->no", input, matrix)
    return result if layer.bias is None else result + layer.bias[torch.tensor(pattern.bias)].to(result)


def _transposed_output(layer: Any, input: Tensor) -> Tensor:
    """Every input position adds its kernel, weighted by its value, into the outputs under its taps."""
    batch, groups, size = input.shape[0], layer.groups, layer.output_size
    kernels = kernels_by_position(layer).unflatten(1, (groups, -1))
    table = input_table(layer.window, size, out_size=layer.input_size).to(input.device)
    values = input.flatten(2).unflatten(1, (groups, -1))
    added = torch.einsum("ngcp,pgcot->ngopt", values, kernels).reshape(batch, layer.out_channels, -1)
    result = added.new_zeros(batch, layer.out_channels, prod(size) + 1)
    result = result.index_add(2, table.flatten(), added)[..., :-1]
    return result.reshape(batch, layer.out_channels, *size) + bias_map(layer)


def bias_map(layer: Any) -> Tensor:
    """The bias of every output neuron [out, *output_size]; zeros without bias."""
    shape = (layer.out_channels, *layer.output_size)
    if layer.bias is None:
        return layer.weight.new_zeros(shape)
    matrix = assignment(layer.bias_sharing, layer.output_size).to(layer.bias)
    return (matrix @ layer.bias.reshape(-1, layer.out_channels)).T.reshape(shape)


def dense_matrix(layer: Any, input_size: Sequence[int]) -> Tensor:
    """The matrix of any layer [out * outputs, in * inputs], channels outermost, bias left out."""
    if layer.transposed:
        table = input_table(layer.window, layer.output_size, out_size=input_size)
        return _dense(layer, table, prod(layer.output_size), layer.in_channels, layer.out_channels).T
    table = input_table(layer.window, input_size, layer.padding_mode)
    return _dense(layer, table, prod(input_size), layer.out_channels, layer.in_channels)


def _dense(layer: Any, table: Tensor, places: int, near: int, far: int) -> Tensor:
    """[near * P, far * places], entry by entry.

    Args:
        table: The place under every tap of every position.
        near: Channels that have one kernel a position: the output's, of a transposed layer the input's.
        far: Channels on the other side.
    """
    kernels, per_group = kernels_by_position(layer), far // layer.groups
    matrix = kernels.new_zeros(near, len(table), far, places + 1)
    for channel in range(near):
        first = channel // (near // layer.groups) * per_group
        for p, row in enumerate(table.tolist()):
            for t, s in enumerate(row):
                matrix[channel, p, first : first + per_group, s] += kernels[p, channel, :, t]
    return matrix[..., :places].reshape(near * len(table), far * places)
