"""The connections of a layer, from its geometry and its sharing alone."""

from fractions import Fraction
from math import prod
from typing import Any

import numpy as np
import torch.nn as nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from .._args import Size, per_axis
from .._memory import check_fits
from ..errors import ArgumentError, PatternError
from ..geometry import Window, check_padding_mode
from ..sharing import Full
from .taps import combine_axes, connections, taps_along

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
    if not transposed:
        out_size = window.output_size(size, name, mode)
    else:
        out_size = getattr(layer, "output_size", None)
        out_size = out_size or window.transposed_size(size, layer.output_padding, name)
    sharing, bias_sharing = getattr(layer, "sharing", Full()), getattr(layer, "bias_sharing", Full())
    positions, places = (size, out_size) if transposed else (out_size, size)
    owners, others = layer.out_channels, layer.in_channels
    if transposed:
        owners, others = others, owners
    per_tap = owners * (others // layer.groups)
    if max(n * taps for n, taps in zip(positions, window.kernel_size)) > _LONG:
        _check_memory(layer, prod(positions) * window.taps * per_tap)
    axes = [taps_along(window, axis, *ends, mode) for axis, ends in enumerate(zip(positions, places))]
    _check_memory(layer, prod(int((along >= 0).sum()) for along in axes) * per_tap)
    table = combine_axes(axes, places)
    labels = np.array(sharing.labels(positions))
    rows, columns, ids = connections(table, labels, owners, others, layer.groups, prod(places))
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


def _check_memory(layer: Any, connections: int) -> None:
    check_fits(
        PatternError,
        f"Pattern.of({type(layer).__name__})",
        "its connections",
        _BYTES * connections,
        f"{connections:,} connections",
        "use a smaller input_size, or fewer channels (the sharing stays the same)",
    )
