"""The connections of a layer, from its geometry and its sharing alone."""

from collections.abc import Sequence
from fractions import Fraction
from math import prod
from typing import Any

import numpy as np
import torch.nn as nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from .._args import Size, per_axis, times
from .._memory import check_fits
from ..errors import ArgumentError, PatternError, ShapeError
from ..geometry import Window, check_padding_mode, padded_index
from ..sharing import Full

_BYTES = 96  # that a connection takes while edges are made and sorted
_LONG = 2**24  # numbers of one axis, above which connections are estimated before they are looked at
_CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def connections_of(layer: Any, input_size: Size | None, padding_mode: str | None) -> dict[str, Any]:
    """The arguments of the `Pattern` of a layer."""
    name = type(layer).__name__
    makers = {_maker(type(layer), method) for method in ("forward", "_conv_forward")} - {None}
    shared = getattr(layer, "pattern", None) if makers == {"weightshare"} else None  # SharedLinear
    linear = shared is not None or isinstance(layer, nn.Linear)
    if not linear and not isinstance(layer, _CONVS + _TRANSPOSED) and not hasattr(layer, "bias_sharing"):
        raise ArgumentError(
            "Pattern.of",
            "the layer must be a convolution or linear layer, torch's or of weightshare.nn",
            name,
            "use Pattern.probe(layer, in_shape) for any other linear map",
        )
    if "forward" in vars(layer) or not makers <= {"torch", "weightshare"}:
        raise ArgumentError(
            name,
            "its forward must be torch's or ours, whose connections are known",
            "one of its own",
            "use Pattern.probe(layer, in_shape), which looks at the numbers",
        )
    _check_parameters(layer, name)
    given = input_size if padding_mode is None else padding_mode
    if linear and given is not None:
        raise ArgumentError(
            name, "a linear layer has no input_size or padding_mode", repr(given), "leave it out"
        )
    if shared is not None:
        arguments = {field: getattr(shared, field) for field in shared.__dataclass_fields__}
        return arguments if layer.bias is not None else arguments | {"bias": None}
    if linear:
        return _linear(layer)
    return _convolution(layer, input_size, padding_mode)


def _maker(kind: type, method: str) -> str | None:
    """Whose method it is: that of torch or weightshare, as far as .nn goes."""
    found = getattr(kind, method, None)
    return None if found is None else getattr(found, "__module__", "").partition(".nn.")[0]


def _check_parameters(layer: Any, name: str) -> None:
    computed = "weight" in vars(layer) or vars(layer).get("bias") is not None
    if computed or parametrize.is_parametrized(layer):
        raise ArgumentError(
            name,
            "its weight must be a parameter",
            "one that is computed, by a parametrization, a norm or pruning",
            "use Pattern.probe(layer, in_shape), which looks at the numbers",
        )
    if any(map(is_lazy, layer.parameters())):
        raise ArgumentError(
            name, "its sizes must be known", "a lazy layer", "run it once, or build it with its sizes"
        )


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
    owners, others = layer.out_channels, layer.in_channels
    if transposed:
        owners, others = others, owners
    per_tap = owners * (others // layer.groups)
    if max(n * taps for n, taps in zip(positions, window.kernel_size)) > _LONG:
        _check_memory(layer, prod(positions) * window.taps * per_tap)
    axes = [_along(window, axis, *ends, mode) for axis, ends in enumerate(zip(positions, places))]
    _check_memory(layer, prod(int((along >= 0).sum()) for along in axes) * per_tap)
    table = _table(axes, places)
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
    found = tuple((n - 1) * s - sum(pair) + extent + extra for n, s, pair, extent, extra in ends)
    if min(found) < 1:
        raise ShapeError(
            type(layer).__name__,
            "the output must have at least one position an axis",
            f"{times(found)} from input_size={size}, padding={layer.padding}",
            "use a larger input_size or less padding",
        )
    return found


def _along(window: Window, axis: int, positions: int, places: int, mode: str) -> np.ndarray:
    """The place under every tap of every position of one axis [P, taps]; -1 where there is none."""
    start = np.arange(positions)[:, None] * window.stride[axis] - window.padding[axis][0]
    at = start + np.arange(window.kernel_size[axis]) * window.dilation[axis]
    first = int(at.min())
    stands = [padded_index(i, places, mode) for i in range(first, int(at.max()) + 1)]
    return np.array([-1 if i is None else i for i in stands])[at - first]


def _table(axes: Sequence[np.ndarray], places: Sequence[int]) -> np.ndarray:
    """The place under every tap of every position [P, taps], row-major; -1 where there is none."""
    table = np.zeros((1, 1), dtype=np.int64)
    for along, size in zip(axes, places):
        one, so_far = along[None, :, None, :], table[:, None, :, None]
        both = np.where((so_far < 0) | (one < 0), -1, so_far * size + one)
        table = both.reshape(len(table) * len(along), -1)
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
    check_fits(
        PatternError,
        f"Pattern.of({type(layer).__name__})",
        "its connections",
        _BYTES * connections,
        f"{connections:,} connections",
        "use a smaller input_size, or fewer channels (the sharing stays the same)",
    )
