"""Locally connected layers of Keras 2 (`LocallyConnected1D`, `LocallyConnected2D`), without importing it."""

from functools import reduce
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .._args import Size, is_sequence, per_axis, times
from ..errors import ArgumentError, ShapeError
from ..geometry import Window
from ._foreign import Layer, check_shape, floats, layer_padding, locally_connected

_WHERE = "from_keras"


def from_keras(
    layer: Any,
    *,
    input_size: Size | None = None,
    kernel_size: Size | None = None,
    stride: Size | None = None,
    padding: str | None = None,
    data_format: str | None = None,
) -> Layer:
    """Make a locally connected layer from a Keras 2 `LocallyConnected1D` or `LocallyConnected2D`.

    The layer computes what Keras computes, on input in torch's order [N, C, *size] whatever the
    `data_format`. All three implementations are read, told apart by the kernel's rank. Taps that only meet
    padding, which implementations 2 and 3 leave out, are zero.

    Keras reshapes, not transposes, the bias of a channels_first layer from [*out, filters] to
    [filters, *out]; so does this.

    Args:
        layer: A built layer of Keras 2 (`tf_keras`, or `tf.keras` before TensorFlow 2.16) with a linear
            activation, or what its `get_weights()` returns: [kernel] or [kernel, bias].
        input_size: Spatial size of the input, an int for one axis. Of a layer it is asked for only where
            the layer does not know it.
        kernel_size: Taps on every axis. This and all below: for arrays only, a layer brings its own.
        stride: Inputs from one output position to the next (default 1).
        padding: "valid" (default) or "same", which only implementations 2 and 3 have.
        data_format: "channels_last" (default) or "channels_first": that of the input in Keras.

    Shape:
        kernel of implementation 1 [P, taps * in, filters], where a receptive field is flattened in the order
        of `data_format`; of 2 [*size, in, *out, filters], or [in, *size, filters, *out] for channels_first;
        of 3 [connections], ordered by output, then input. bias [*out, filters].

    Raises:
        ArgumentError: a layer of another class or with an activation, or a geometry that is missing or that
            the layers here do not have (padding "same" of an even kernel).
        ShapeError: arrays that do not have the shapes of this geometry.

    Example:
        >>> import numpy as np
        >>> kernel = np.zeros((4 * 5, 2 * 3 * 3, 8), np.float32)  # LocallyConnected2D(8, (2, 3))
        >>> bias = np.zeros((4, 5, 8), np.float32)  # on 5 x 7 pixels of 3 channels
        >>> layer = from_keras([kernel, bias], input_size=(5, 7), kernel_size=(2, 3))
        >>> layer(torch.zeros(1, 3, 5, 7)).shape
        torch.Size([1, 8, 4, 5])

    Source: tf_keras, layers/locally_connected, and `local_conv` and `bias_add` of its backend.
    """
    given = {"kernel_size": kernel_size, "stride": stride, "padding": padding, "data_format": data_format}
    filters = None
    if hasattr(layer, "get_weights") and hasattr(layer, "get_config"):
        layer, input_size, given, filters = _read(layer, input_size, given)
    kernel, bias = _arrays(layer)
    geometry = _geometry(input_size, **given)
    ndim, out = geometry.window.ndim, geometry.out
    hint = "use an odd kernel_size (Keras pads an even one more before the input than after it)"
    torch_padding = layer_padding(_WHERE, geometry.window, hint)
    if kernel.dim() == 3:
        kernels = _implementation_1(kernel, geometry)
    elif kernel.dim() == 2 * ndim + 2:
        kernels = _implementation_2(kernel, geometry)
    elif kernel.dim() == 1:
        filters = bias.shape[-1] if filters is None and bias is not None and bias.dim() else filters
        kernels = _implementation_3(kernel, geometry, filters)
    else:
        raise ShapeError(
            _WHERE,
            f"kernel must have rank 3, {2 * ndim + 2} or 1 (implementation 1, 2 or 3 of {ndim} spatial axes)",
            str(list(kernel.shape)),
            "pass what get_weights() returns, and input_size with one number for each spatial axis",
        )
    if bias is not None:
        filters = kernels.shape[-1]
        check_shape(_WHERE, "bias", "[*out, filters]", (*out, filters), bias, geometry.hint)
        bias = bias.reshape(filters, -1).T if geometry.channels_first else bias.flatten(0, -2)
    return locally_connected(kernels, bias, geometry.window, torch_padding, "zeros", geometry.size)


class _Geometry(NamedTuple):
    size: tuple[int, ...]
    window: Window
    out: tuple[int, ...]
    channels_first: bool

    @property
    def hint(self) -> str:
        return (
            "check input_size, kernel_size, stride, padding and data_format, which give an output of "
            f"{times(self.out)} with {self.window.taps} taps"
        )

    def inputs(self) -> list[Tensor]:
        """An axis each, the input that every tap of every output reads, to broadcast over [*out, *kernel]."""
        ndim, window = self.window.ndim, self.window
        index = []
        for axis, (n, taps) in enumerate(zip(self.out, window.kernel_size)):
            start = torch.arange(n) * window.stride[axis] - window.padding[axis][0]
            shape = [1] * 2 * ndim
            shape[axis], shape[ndim + axis] = n, taps
            index.append((start[:, None] + torch.arange(taps)).view(shape))
        return index

    def touches(self) -> Tensor:
        """Whether a tap meets the input rather than padding [*out, *kernel]."""
        inside = [(index >= 0) & (index < n) for index, n in zip(self.inputs(), self.size)]
        return reduce(torch.logical_and, inside)


def _implementation_1(kernel: Tensor, geometry: _Geometry) -> Tensor:
    """[P, taps * in, filters] -> [*out, *kernel_size, in, filters]; so the other two."""
    window, out = geometry.window, geometry.out
    expected = (prod(out), (window.taps, "in"), (1, "filters"))
    what = "kernel of implementation 1"
    check_shape(_WHERE, what, "[positions, taps * in, filters]", expected, kernel, geometry.hint)
    if geometry.channels_first:
        kernel = kernel.unflatten(1, (-1, *window.kernel_size)).movedim(1, -2)
    else:
        kernel = kernel.unflatten(1, (*window.kernel_size, -1))
    return kernel.unflatten(0, out)


def _implementation_2(kernel: Tensor, geometry: _Geometry) -> Tensor:
    size, out, ndim = geometry.size, geometry.out, len(geometry.size)
    expected, layout = (*size, (1, "in"), *out, (1, "filters")), "[*size, in, *out, filters]"
    if geometry.channels_first:
        expected, layout = ((1, "in"), *size, (1, "filters"), *out), "[in, *size, filters, *out]"
    check_shape(_WHERE, "kernel of implementation 2", layout, expected, kernel, geometry.hint)
    if geometry.channels_first:
        kernel = kernel.movedim((0, ndim + 1), (ndim, -1))
    inputs = [index.clamp(0, n - 1) for index, n in zip(geometry.inputs(), size)]
    outputs = torch.meshgrid(*map(torch.arange, out), indexing="ij")
    outputs = [index.view(*out, *[1] * ndim) for index in outputs]
    taken = kernel[(*inputs, slice(None), *outputs)]
    return taken.masked_fill(~geometry.touches()[..., None, None], 0)


def _implementation_3(kernel: Tensor, geometry: _Geometry, filters: int | None) -> Tensor:
    if not filters:
        raise ArgumentError(
            _WHERE,
            "kernel of implementation 3 must come with a bias, whose shape tells the filters",
            "no bias",
            "pass the layer itself, or add zeros [*out, filters] as a bias",
        )
    out, ndim, touches = geometry.out, len(geometry.size), geometry.touches()
    expected = ((int(touches.sum()) * filters, "in"),)
    check_shape(_WHERE, "kernel of implementation 3", "[connections]", expected, kernel, geometry.hint)
    taps, channels = geometry.window.kernel_size, len(kernel) // expected[0][0]
    if geometry.channels_first:
        full = kernel.new_zeros(filters, *out, channels, *taps)
        full[touches.unsqueeze(ndim).expand(full.shape)] = kernel
        return full.movedim((0, ndim + 1), (-1, -2))
    full = kernel.new_zeros(*out, filters, *taps, channels)
    full[touches.unsqueeze(ndim).unsqueeze(-1).expand(full.shape)] = kernel
    return full.movedim(ndim, -1)


def _read(
    layer: Any, input_size: Size | None, given: dict[str, Any]
) -> tuple[list[Any], Size | None, dict[str, Any], int]:
    """Weights, input size, geometry and filters of a live layer."""
    name, config = type(layer).__name__, layer.get_config()
    if not any(base.__name__ in ("LocallyConnected1D", "LocallyConnected2D") for base in type(layer).__mro__):
        raise ArgumentError(
            _WHERE,
            "layer must be a LocallyConnected1D or LocallyConnected2D",
            name,
            "pass one of a model's own",
        )
    own = sorted(argument for argument, value in given.items() if value is not None)
    if own:
        raise ArgumentError(
            f"{_WHERE}, {name}", "a layer brings its own geometry", ", ".join(own), "leave it out"
        )
    if config["activation"] != "linear":
        raise ArgumentError(
            f"{_WHERE}, {name}",
            "activation must be 'linear', as the returned layer has none",
            repr(config["activation"]),
            "pass layer.get_weights() with the geometry, and apply the activation to the output",
        )
    first = config["data_format"] == "channels_first"
    shape = getattr(layer, "input_shape", None)
    if shape is None and hasattr(layer, "get_build_config"):
        built = layer.get_build_config()
        shape = None if built is None else built.get("input_shape")
    if input_size is None and shape is not None:
        input_size = tuple(shape[2:] if first else shape[1:-1])
    weights = layer.get_weights()
    if not weights:
        raise ArgumentError(
            f"{_WHERE}, {name}", "layer must have weights", "none", "call it once on an input to build it"
        )
    geometry = {
        "kernel_size": config["kernel_size"],
        "stride": config["strides"],
        "padding": config["padding"],
        "data_format": config["data_format"],
    }
    return weights, input_size, geometry, config["filters"]


def _arrays(weights: Any) -> tuple[Tensor, Tensor | None]:
    if not is_sequence(weights) or not 1 <= len(weights) <= 2:
        got = f"{len(weights)} arrays" if is_sequence(weights) else type(weights).__name__
        raise ArgumentError(
            _WHERE,
            "layer must be a Keras layer, [kernel] or [kernel, bias]",
            got,
            "pass one layer's weights",
        )
    kernel, *bias = (floats(_WHERE, name, array) for name, array in zip(("kernel", "bias"), weights))
    return kernel, bias[0] if bias else None


def _geometry(
    input_size: Size | None, kernel_size: Size | None, stride: Size | None, padding: Any, data_format: Any
) -> _Geometry:
    for name, value in (("input_size", input_size), ("kernel_size", kernel_size)):
        if value is None:
            raise ArgumentError(
                _WHERE, f"{name} must be given, the weights do not tell it", "none", f"give {name}="
            )
    ndim = len(input_size) if is_sequence(input_size) else 1  # type: ignore[arg-type]
    if ndim not in (1, 2):
        raise ArgumentError(
            _WHERE, "input_size must have one or two axes", repr(input_size), "leave out batch and channels"
        )
    data_format = "channels_last" if data_format is None else data_format
    if data_format not in ("channels_first", "channels_last"):
        names = "'channels_first' or 'channels_last'"
        raise ArgumentError(_WHERE, f"data_format must be {names}", repr(data_format), "use one of these")
    padding = "valid" if padding is None else padding
    if padding not in ("same", "valid"):
        raise ArgumentError(_WHERE, "padding must be 'same' or 'valid'", repr(padding), "use one of these")
    size = per_axis(_WHERE, "input_size", input_size, ndim, least=1)
    window = Window(kernel_size, 1 if stride is None else stride, 0, ndim=ndim, where=_WHERE)  # type: ignore
    if padding == "same":  # not TensorFlow's: k // 2 before the input at any stride
        pairs = [(k // 2, (k - 1) // 2) for k in window.kernel_size]
        window = Window(window.kernel_size, window.stride, pairs, ndim=ndim, where=_WHERE)
    return _Geometry(size, window, window.output_size(size, _WHERE), data_format == "channels_first")
