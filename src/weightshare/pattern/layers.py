"""The connections of a layer, from its geometry and its sharing alone."""

from fractions import Fraction
from math import prod
from typing import Any

import numpy as np
import torch.nn as nn
from torch.nn.utils import parametrize

from .._args import Size, per_axis
from .._memory import free_bytes
from ..errors import ArgumentError, PatternError
from ..geometry import Window, check_padding_mode, padded_index
from ..sharing import Full

_CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def connections_of(layer: Any, input_size: Size | None, padding_mode: str | None) -> dict[str, Any]:
    """The arguments of the `Pattern` of a layer."""
    name = type(layer).__name__
    own = getattr(layer, "pattern", None)
    if own is not None:  # SharedLinear
        return {field: getattr(own, field) for field in own.__dataclass_fields__}
    if parametrize.is_parametrized(layer):
        raise ArgumentError(
            name,
            "its weight must be a parameter",
            "one that a parametrization computes",
            "use Pattern.probe(layer, in_shape), which looks at the numbers",
        )
    if isinstance(layer, nn.Linear):
        return _linear(layer)
    if not isinstance(layer, _CONVS + _TRANSPOSED) and not hasattr(layer, "bias_sharing"):
        raise ArgumentError(
            "Pattern.of",
            "the layer must be a convolution or linear layer, torch's or of weightshare.nn",
            name,
            "use Pattern.probe(layer, in_shape) for any other linear map",
        )
    return _convolution(layer, input_size, padding_mode)


def _linear(layer: Any) -> dict[str, Any]:
    n_out, n_in = layer.out_features, layer.in_features
    _check_memory(layer, n_out * n_in)
    output, input_ = np.divmod(np.arange(n_out * n_in), n_in)
    edges = np.stack([output, input_, np.arange(n_out * n_in)], axis=1)
    bias = None if layer.bias is None else np.arange(n_out)
    return {"edges": edges, "out_shape": n_out, "in_shape": n_in, "bias": bias}


def _convolution(layer: Any, input_size: Size | None, padding_mode: str | None) -> dict[str, Any]:
    name, ndim = type(layer).__name__, len(layer.kernel_size)
    transposed = isinstance(layer, _TRANSPOSED) or getattr(layer, "transposed", False) is True
    window = getattr(layer, "window", None) or Window(
        layer.kernel_size, layer.stride, layer.padding, layer.dilation, where=name
    )
    known = getattr(layer, "input_size", None)
    if input_size is None and known is None:
        raise ArgumentError(
            name, "its pattern needs input_size, the spatial size of the input", "none", "give input_size="
        )
    size: Any = known if input_size is None else per_axis(name, "input_size", input_size, ndim, least=1)
    if known is not None and size != known:
        raise ArgumentError(
            name, f"input_size must be {known}, which the layer is built for", str(size), "leave it out"
        )
    mode = layer.padding_mode if padding_mode is None else check_padding_mode(name, padding_mode)
    if transposed and mode != "zeros":
        raise ArgumentError(name, "a transposed layer has no padding_mode", repr(mode), "leave it out")
    out_size = _transposed_size(layer, window, size) if transposed else window.output_size(size, name, mode)
    sharing, bias_sharing = getattr(layer, "sharing", Full()), getattr(layer, "bias_sharing", Full())
    positions, places = (size, out_size) if transposed else (out_size, size)
    table = _table(window, positions, places, mode)
    owners, others = layer.out_channels, layer.in_channels
    if transposed:
        owners, others = others, owners
    _check_memory(layer, int((table >= 0).sum()) * owners * (others // layer.groups))
    labels = np.array(sharing.labels(positions))
    rows, columns, ids = _connections(table, labels, owners, others, layer.groups, prod(places))
    if transposed:
        rows, columns = columns, rows
    bias = None
    if layer.bias is not None:
        bias = (
            np.array(bias_sharing.labels(out_size)) * layer.out_channels
            + np.arange(layer.out_channels)[:, None]
        ).ravel()
    per_bank = owners * (others // layer.groups) * window.taps
    return {
        "edges": np.stack([rows, columns, ids], axis=1),
        "out_shape": (layer.out_channels, *out_size),
        "in_shape": (layer.in_channels, *size),
        "n_weights": per_bank * (sharing.banks(positions) if sharing.one_hot else 1),
        "bias": bias,
        "stride": [1 / Fraction(s) if transposed else Fraction(s) for s in window.stride],
        "note": ""
        if sharing.one_hot
        else f"the kernel that all positions share; the corrections of {sharing!r} differ by position",
    }


def _transposed_size(layer: Any, window: Window, size: tuple[int, ...]) -> tuple[int, ...]:
    known = getattr(layer, "output_size", None)
    if known is not None:
        return known
    more = layer.output_padding
    ends = zip(size, window.stride, window.padding, window.extent, more)
    return tuple((n - 1) * s - sum(pair) + extent + extra for n, s, pair, extent, extra in ends)


def _table(window: Window, positions: Any, places: Any, mode: str) -> np.ndarray:
    """The place under every tap of every position [P, taps], row-major; -1 where there is none."""
    table = np.zeros((1, 1), dtype=np.int64)
    for axis, (count, size) in enumerate(zip(positions, places)):
        stride, dilation, before = window.stride[axis], window.dilation[axis], window.padding[axis][0]
        start = np.arange(count)[:, None] * stride - before
        at = start + np.arange(window.kernel_size[axis]) * dilation
        index = [[padded_index(int(i), size, mode) for i in row] for row in at]
        one = np.array([[-1 if i is None else i for i in row] for row in index])[None, :, None, :]
        so_far = table[:, None, :, None]
        both = np.where((so_far < 0) | (one < 0), -1, so_far * size + one)
        table = both.reshape(len(table) * count, -1)
    return table


def _connections(
    table: np.ndarray, labels: np.ndarray, owners: int, others: int, groups: int, places: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(owning neuron, other neuron, weight id) of every connection, for every channel of its group.

    Args:
        owners: Channels that have a kernel a position: the output's, of a transposed layer the input's.
    """
    positions, taps = table.shape
    position, tap = np.nonzero(table >= 0)
    place = table[position, tap][:, None, None]
    position, tap = position[:, None, None], tap[:, None, None]
    per_group = others // groups
    owner, local = np.arange(owners)[None, :, None], np.arange(per_group)[None, None, :]
    other = owner // (owners // groups) * per_group + local
    ids = ((labels[position] * owners + owner) * per_group + local) * taps + tap
    rows, columns = owner * positions + position, other * places + place
    rows, columns, ids = np.broadcast_arrays(rows, columns, ids)
    return rows.ravel(), columns.ravel(), ids.ravel()


def _check_memory(layer: Any, connections: int) -> None:
    needed, limit = 6 * 8 * connections, free_bytes()  # edges, and as much again while they are sorted
    if limit is not None and needed > limit:
        raise PatternError(
            f"Pattern.of({type(layer).__name__})",
            f"its connections must fit {limit:,} bytes of memory",
            f"{connections:,}, which take {needed:,} bytes",
            "use a smaller input_size, or the same layer with fewer channels: the sharing is the same",
        )
