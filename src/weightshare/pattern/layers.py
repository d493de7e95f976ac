"""Read the connections of a layer from its geometry and its sharing."""

from fractions import Fraction
from math import prod
from typing import Any

import numpy as np
from torch import nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from .._args import Size, check_per_axis
from .._memory import check_fits
from ..errors import ArgumentError, PatternError
from ..geometry import PaddingModes, Window, check_padding_mode, split_padding_mode
from ..sharing import Full
from .modules import check_dense
from .taps import combine_axes, list_connections, taps_along

_BYTES_PER_CONNECTION = 96  # memory per connection while edges are created and sorted
# number of entries in the table of one axis above which memory is checked before the table is created
_MAX_TABLE_SIZE = 2**24
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def read_layer(
    layer: nn.Module, input_size: Size | None, padding_mode: PaddingModes | None
) -> dict[str, Any]:
    """Return the constructor arguments of a layer's `Pattern`."""
    name = type(layer).__name__
    packages = {_find_package(type(layer), method) for method in ("forward", "_conv_forward")} - {None}
    pattern = getattr(layer, "pattern", None) if packages == {"weightshare"} else None  # a SharedLinear
    is_linear = pattern is not None or isinstance(layer, nn.Linear)
    is_convolution = isinstance(layer, _CONVOLUTIONS + _TRANSPOSED) or hasattr(layer, "bias_sharing")
    if not is_linear and not is_convolution:
        raise ArgumentError(
            "Pattern.of",
            "layer must be a convolution or linear layer of torch.nn or weightshare.nn",
            name,
            "use Pattern.probe(layer, in_shape) for any other linear map",
        )
    if "forward" in vars(layer) or not packages <= {"torch", "weightshare"}:
        raise ArgumentError(
            name,
            "forward must be that of torch.nn or weightshare.nn",
            "a custom one",
            "use Pattern.probe(layer, in_shape), which finds the connections numerically",
        )
    _check_parameters(layer, name)
    if not is_linear:
        return _read_convolution(layer, input_size, padding_mode)
    unused = input_size if padding_mode is None else padding_mode
    if unused is not None:
        raise ArgumentError(name, "a linear layer has no input_size or padding_mode", repr(unused))
    if pattern is None:
        return _read_linear(layer)
    arguments = {field: getattr(pattern, field) for field in pattern.__dataclass_fields__}
    return arguments if layer.bias is not None else arguments | {"bias": None}


def _find_package(kind: type, method: str) -> str | None:
    """Return the package whose `nn` defines a method, such as "torch"; None if there is no such method."""
    function = getattr(kind, method, None)
    return None if function is None else getattr(function, "__module__", "").partition(".nn.")[0]


def _check_parameters(layer: nn.Module, name: str) -> None:
    is_computed = "weight" in vars(layer) or vars(layer).get("bias") is not None
    if is_computed or parametrize.is_parametrized(layer):
        raise ArgumentError(
            name,
            "weight and bias must be parameters",
            "one that is computed by a parametrization, a norm or pruning",
            "use Pattern.probe(layer, in_shape), which finds the connections numerically",
        )
    if any(map(is_lazy, layer.parameters())):
        hint = "call it once, or build it with explicit sizes"
        raise ArgumentError(name, "the sizes of the layer must be known", "a lazy layer", hint)
    check_dense(name, layer)


def _read_linear(layer: Any) -> dict[str, Any]:
    n_out, n_in = layer.out_features, layer.in_features
    _check_memory(layer, n_out * n_in)
    output, input_ = np.divmod(np.arange(n_out * n_in), n_in)
    edges = np.stack([output, input_, np.arange(n_out * n_in)], axis=1)
    bias = None if layer.bias is None else np.arange(n_out)
    return {"edges": edges, "out_shape": n_out, "in_shape": n_in, "bias": bias}


def _read_convolution(
    layer: Any, input_size: Size | None, padding_mode: PaddingModes | None
) -> dict[str, Any]:
    name = type(layer).__name__
    is_transposed = isinstance(layer, _TRANSPOSED) or getattr(layer, "transposed", False) is True
    window = getattr(layer, "window", None) or Window(
        layer.kernel_size, layer.stride, layer.padding, layer.dilation, where=name
    )
    in_size = _choose_input_size(layer, input_size)
    mode = layer.padding_mode if padding_mode is None else padding_mode
    mode = check_padding_mode(name, mode, window.ndim)
    if is_transposed and mode != "zeros":
        raise ArgumentError(name, "a transposed layer has no padding_mode", repr(mode))
    if is_transposed:
        known = getattr(layer, "output_size", None)
        out_size = known or window.transposed_size(in_size, layer.output_padding, name)
        positions, inputs = in_size, out_size
        position_channels, window_channels = layer.in_channels, layer.out_channels
    else:
        out_size = window.output_size(in_size, name, mode)
        positions, inputs = out_size, in_size
        position_channels, window_channels = layer.out_channels, layer.in_channels
    weights_per_tap = position_channels * (window_channels // layer.groups)
    if max(n * taps for n, taps in zip(positions, window.kernel_size)) > _MAX_TABLE_SIZE:
        _check_memory(layer, prod(positions) * window.taps * weights_per_tap)
    modes = split_padding_mode(mode, window.ndim)
    sizes = enumerate(zip(positions, inputs, modes))
    axes = [taps_along(window, axis, *along) for axis, along in sizes]
    _check_memory(layer, prod(int((along >= 0).sum()) for along in axes) * weights_per_tap)
    sharing = getattr(layer, "sharing", Full())
    position_side, window_side, ids = list_connections(
        combine_axes(axes, inputs),
        np.array(sharing.labels(positions)),
        position_channels,
        window_channels,
        layer.groups,
        prod(inputs),
    )
    output, input_ = (window_side, position_side) if is_transposed else (position_side, window_side)
    note = f"the kernel that all positions share; the corrections of {sharing!r} differ by position"
    return {
        "edges": np.stack([output, input_, ids], axis=1),
        "out_shape": (layer.out_channels, *out_size),
        "in_shape": (layer.in_channels, *in_size),
        "n_weights": weights_per_tap * window.taps * (sharing.banks(positions) if sharing.one_hot else 1),
        "bias": _read_bias(layer, out_size),
        "stride": [1 / Fraction(s) if is_transposed else Fraction(s) for s in window.stride],
        "note": note if not sharing.one_hot and sharing.banks(positions) > 1 else "",  # LowRank(0) is Full
    }


def _choose_input_size(layer: Any, input_size: Size | None) -> tuple[int, ...]:
    """Return the size passed or, if it is None, the size stored in the layer; they must agree."""
    name, stored = type(layer).__name__, getattr(layer, "input_size", None)
    if input_size is None:
        if stored is None:
            raise ArgumentError(name, "input_size, the spatial size of the input, must be given", "None")
        return stored
    size = check_per_axis(name, "input_size", input_size, len(layer.kernel_size), least=1)
    if stored is not None and size != stored:
        raise ArgumentError(name, f"input_size must be {stored}, for which the layer was built", str(size))
    return size


def _read_bias(layer: Any, out_size: tuple[int, ...]) -> np.ndarray | None:
    """Return the bias id of each output."""
    if layer.bias is None:
        return None
    labels = np.array(getattr(layer, "bias_sharing", Full()).labels(out_size))
    return (labels * layer.out_channels + np.arange(layer.out_channels)[:, None]).ravel()


def _check_memory(layer: nn.Module, connections: int) -> None:
    check_fits(
        PatternError,
        f"Pattern.of({type(layer).__name__})",
        "its connections",
        _BYTES_PER_CONNECTION * connections,
        f"{connections:,} connections",
        "use a smaller input_size, or fewer channels (the sharing stays the same)",
    )
