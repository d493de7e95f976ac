"""Convert layers of Keras 2 and 3 to `weightshare.nn`, without Keras."""

import re
from functools import reduce
from math import prod
from os import PathLike
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import Sequential

from .._args import Size, check_per_axis, format_size, is_sequence
from ..errors import ArgumentError, ShapeError
from ..geometry import Window
from .external import Layer, check_array_shape, convert_padding, make_locally_connected, read_array
from .keras_convolutions import convert_convolution, is_convolution, make_activation
from .keras_files import read_stored_layer

_WHERE = "from_keras"


def from_keras(
    layer: Any,
    *,
    name: str | None = None,
    input_size: Size | None = None,
    kernel_size: Size | None = None,
    stride: Size | None = None,
    padding: str | None = None,
    data_format: str | None = None,
) -> Any:
    """Return the layer that computes the same function as a layer of Keras, or of a Keras file.

    A Keras 2 `LocallyConnected1D` or `2D` becomes a `LocallyConnectedNd`, and a `Conv1D`, `2D` or `3D` of
    Keras 2 or 3 a `ConvNd` with full sharing. If the layer has an activation, the result is a
    `torch.nn.Sequential` of layer and activation. Inputs are in torch's order [N, C, *size] for either
    `data_format`.

    All three implementations of locally connected layers are supported; the rank of the kernel shows which
    one was used. Taps on padding, which implementations 2 and 3 do not store, are zero.

    Keras reshapes, and does not transpose, the bias of a channels_first layer from [*out, filters] to
    [filters, *out]; this function does the same.

    Args:
        layer: A built Keras layer; or the path of an `.h5`, `.weights.h5` or `.keras` file; or the result of
            `get_weights()` of a locally connected layer: [kernel] or [kernel, bias].
        name: Name of the layer in a file; not needed if only one layer has weights. Weights-only files
            of tf_keras may use names derived from the classes, such as "locally_connected2d_1".
        input_size: Spatial size of the input; an int means one axis. For a layer, required only if the layer
            does not store it.
        kernel_size: Number of taps, an int or one per axis. This and the following arguments are for arrays
            and weights-only files of locally connected layers; a Keras layer contains its own geometry.
        stride: Inputs from one output position to the next (default 1).
        padding: "valid" (default) or "same", which only implementations 2 and 3 support.
        data_format: "channels_last" (default) or "channels_first": format of the input in Keras.

    Shape:
        kernel of implementation 1 [P, taps * in, filters], where a receptive field is flattened in the order
        of `data_format`; of 2 [*size, in, *out, filters], or [in, *size, filters, *out] for channels_first;
        of 3 [connections], ordered by output, then input. bias [*out, filters].

    Raises:
        ArgumentError: If the layer has another class, or an activation that torch lacks, if an argument is
            missing, if a file has no layer of that name, or if the padding is not supported: "causal", or
            "same" with an even kernel or with different padding at the two ends of an axis.
        DataError: If the file is missing or is not a Keras file.
        MissingExtraError: If h5py, which reads files, is not installed.
        ShapeError: If an array does not have the shape that follows from the geometry.

    Example:
        >>> import numpy as np
        >>> kernel = np.zeros((4 * 5, 2 * 3 * 3, 8), np.float32)  # LocallyConnected2D(8, (2, 3))
        >>> bias = np.zeros((4, 5, 8), np.float32)  # for inputs of 5 x 7 with 3 channels
        >>> layer = from_keras([kernel, bias], input_size=(5, 7), kernel_size=(2, 3))
        >>> layer(torch.zeros(1, 3, 5, 7)).shape
        torch.Size([1, 8, 4, 5])

    Source: tf_keras, layers/locally_connected, and `local_conv` and `bias_add` of its backend.
    """
    given: dict[str, Any] = {
        "kernel_size": kernel_size,
        "stride": stride,
        "padding": padding,
        "data_format": data_format,
    }
    filters, activation = None, None
    if isinstance(layer, str | PathLike):
        layer = read_stored_layer(_WHERE, layer, name)
        layer = layer if layer.config else layer.weights
    elif name is not None:
        raise ArgumentError(_WHERE, "name must be None unless a file is given", repr(name))
    if hasattr(layer, "get_weights") and hasattr(layer, "get_config"):
        class_name, where = _get_class_name(layer), f"{_WHERE}, {_get_class_name(layer)}"
        layer, input_size, given, config = _read_layer(layer, class_name, where, input_size, given)
        activation = make_activation(where, config)
        if is_convolution(class_name):
            made = convert_convolution(where, class_name, config, layer, input_size)
            return made if activation is None else Sequential(made, activation)
        filters = config["filters"]
    made = _convert_locally_connected(layer, input_size, given, filters)
    return made if activation is None else Sequential(made, activation)


def _convert_locally_connected(
    weights: Any, input_size: Size | None, given: dict[str, Any], filters: int | None
) -> Layer:
    kernel, bias = _read_weights(weights)
    geometry = _make_geometry(input_size, **given)
    ndim, out = geometry.window.ndim, geometry.out
    hint = "use an odd kernel_size (for an even one, Keras pads more before the input than after it)"
    torch_padding = convert_padding(_WHERE, geometry.window, hint)
    if kernel.dim() == 3:
        kernels = _convert_implementation_1(kernel, geometry)
    elif kernel.dim() == 2 * ndim + 2:
        kernels = _convert_implementation_2(kernel, geometry)
    elif kernel.dim() == 1:
        filters = bias.shape[-1] if filters is None and bias is not None and bias.dim() else filters
        kernels = _convert_implementation_3(kernel, geometry, filters)
    else:
        raise ShapeError(
            _WHERE,
            f"kernel must have rank 3, {2 * ndim + 2} or 1 (implementation 1, 2 or 3 with {ndim} spatial "
            "axes)",
            str(list(kernel.shape)),
            "pass the result of get_weights(), and input_size with one number per spatial axis",
        )
    if bias is not None:
        filters = kernels.shape[-1]
        check_array_shape(_WHERE, "bias", "[*out, filters]", (*out, filters), bias, geometry.hint)
        bias = bias.reshape(filters, -1).T if geometry.channels_first else bias.flatten(0, -2)
    return make_locally_connected(kernels, bias, geometry.window, torch_padding, "zeros", geometry.size)


class _Geometry(NamedTuple):
    size: tuple[int, ...]
    window: Window
    out: tuple[int, ...]
    channels_first: bool

    @property
    def hint(self) -> str:
        return (
            "check input_size, kernel_size, stride, padding and data_format, which result in an output of "
            f"{format_size(self.out)} and {self.window.taps} taps"
        )

    def find_inputs(self) -> list[Tensor]:
        """Return, per axis, the input under each tap of each output, to broadcast over [*out, *kernel]."""
        ndim, window = self.window.ndim, self.window
        result: list[Tensor] = []
        for axis, (n, taps) in enumerate(zip(self.out, window.kernel_size)):
            start = torch.arange(n) * window.stride[axis] - window.padding[axis][0]
            shape = [1] * 2 * ndim
            shape[axis], shape[ndim + axis] = n, taps
            result.append((start[:, None] + torch.arange(taps)).view(shape))
        return result

    def find_touching(self) -> Tensor:
        """Return whether each tap is on the input rather than on padding [*out, *kernel]."""
        inside = [(index >= 0) & (index < n) for index, n in zip(self.find_inputs(), self.size)]
        return reduce(torch.logical_and, inside)


def _convert_implementation_1(kernel: Tensor, geometry: _Geometry) -> Tensor:
    """Return kernels [*out, *kernel_size, in, filters] from [P, taps * in, filters]."""
    window, out = geometry.window, geometry.out
    expected = (prod(out), (window.taps, "in"), (1, "filters"))
    what, layout = "kernel of implementation 1", "[positions, taps * in, filters]"
    check_array_shape(_WHERE, what, layout, expected, kernel, geometry.hint)
    if geometry.channels_first:
        kernel = kernel.unflatten(1, (-1, *window.kernel_size)).movedim(1, -2)
    else:
        kernel = kernel.unflatten(1, (*window.kernel_size, -1))
    return kernel.unflatten(0, out)


def _convert_implementation_2(kernel: Tensor, geometry: _Geometry) -> Tensor:
    """Return kernels [*out, *kernel_size, in, filters] from a dense kernel [*size, in, *out, filters]."""
    size, out, ndim = geometry.size, geometry.out, len(geometry.size)
    expected, layout = (*size, (1, "in"), *out, (1, "filters")), "[*size, in, *out, filters]"
    if geometry.channels_first:
        expected, layout = ((1, "in"), *size, (1, "filters"), *out), "[in, *size, filters, *out]"
    check_array_shape(_WHERE, "kernel of implementation 2", layout, expected, kernel, geometry.hint)
    if geometry.channels_first:
        kernel = kernel.movedim((0, ndim + 1), (ndim, -1))
    inputs = [index.clamp(0, n - 1) for index, n in zip(geometry.find_inputs(), size)]
    outputs = torch.meshgrid(*map(torch.arange, out), indexing="ij")
    outputs = [index.view(*out, *[1] * ndim) for index in outputs]
    kernels = kernel[(*inputs, slice(None), *outputs)]
    return kernels.masked_fill(~geometry.find_touching()[..., None, None], 0)


def _convert_implementation_3(kernel: Tensor, geometry: _Geometry, filters: int | None) -> Tensor:
    """Return kernels [*out, *kernel_size, in, filters] from a flat kernel [connections]."""
    if not filters:
        raise ArgumentError(
            _WHERE,
            "a kernel of implementation 3 needs a bias, whose shape shows the number of filters",
            "no bias",
            "pass the layer itself, or add zeros [*out, filters] as a bias",
        )
    out, ndim, touches = geometry.out, len(geometry.size), geometry.find_touching()
    expected = ((int(touches.sum()) * filters, "in"),)
    check_array_shape(_WHERE, "kernel of implementation 3", "[connections]", expected, kernel, geometry.hint)
    taps, channels = geometry.window.kernel_size, len(kernel) // expected[0][0]
    if geometry.channels_first:
        full = kernel.new_zeros(filters, *out, channels, *taps)
        full[touches.unsqueeze(ndim).expand(full.shape)] = kernel
        return full.movedim((0, ndim + 1), (-1, -2))
    full = kernel.new_zeros(*out, filters, *taps, channels)
    full[touches.unsqueeze(ndim).unsqueeze(-1).expand(full.shape)] = kernel
    return full.movedim(ndim, -1)


def _get_class_name(layer: Any) -> str:
    """Return the name of the Keras class from which a layer is derived, if it can be converted."""
    stored = getattr(layer, "class_name", None)
    names = [stored] if isinstance(stored, str) else [base.__name__ for base in type(layer).__mro__]
    known = ("LocallyConnected1D", "LocallyConnected2D")
    found = next((name for name in names if name in known or is_convolution(name)), None)
    if found is None or any(re.search("Transpose|Depthwise|Separable", name) for name in names):
        expected = "layer must be a LocallyConnected1D or LocallyConnected2D, or a Conv1D, Conv2D or Conv3D"
        raise ArgumentError(_WHERE, expected, names[0])
    return found


def _read_layer(
    layer: Any, class_name: str, where: str, input_size: Size | None, given: dict[str, Any]
) -> tuple[list[Any], Size | None, dict[str, Any], dict[str, Any]]:
    """Return the weights, input size, geometry arguments and configuration of a Keras layer."""
    config = layer.get_config()
    superfluous = sorted(argument for argument, value in given.items() if value is not None)
    if superfluous:
        expected = "the geometry must not be given, because the layer contains it"
        raise ArgumentError(where, expected, ", ".join(superfluous))
    channels_first = config["data_format"] == "channels_first"
    shape = getattr(layer, "input_shape", None)
    if shape is None and hasattr(layer, "get_build_config"):
        build_config = layer.get_build_config()
        shape = None if build_config is None else build_config.get("input_shape")
    if input_size is None and shape is not None:
        size = tuple(shape[2:] if channels_first else shape[1:-1])
        input_size = None if None in size else size
    weights = layer.get_weights()
    if not weights:
        raise ArgumentError(where, "layer must have weights", "none", "call it once to build it")
    geometry = {
        "kernel_size": config["kernel_size"],
        "stride": config["strides"],
        "padding": config["padding"],
        "data_format": config["data_format"],
    }
    return weights, input_size, geometry, config


def _read_weights(weights: Any) -> tuple[Tensor, Tensor | None]:
    if not is_sequence(weights) or not 1 <= len(weights) <= 2:
        got = f"{len(weights)} arrays" if is_sequence(weights) else type(weights).__name__
        raise ArgumentError(_WHERE, "layer must be a Keras layer, [kernel] or [kernel, bias]", got)
    kernel, *bias = (read_array(_WHERE, name, array) for name, array in zip(("kernel", "bias"), weights))
    return kernel, bias[0] if bias else None


def _make_geometry(
    input_size: Size | None,
    kernel_size: Size | None,
    stride: Size | None,
    padding: str | None,
    data_format: str | None,
) -> _Geometry:
    if input_size is None or kernel_size is None:
        name = "input_size" if input_size is None else "kernel_size"
        raise ArgumentError(_WHERE, f"{name} must be given, because the weights do not contain it", "None")
    ndim = len(input_size) if is_sequence(input_size) else 1
    if ndim not in (1, 2):
        hint = "pass the spatial size without batch and channels"
        raise ArgumentError(_WHERE, "input_size must have one or two axes", repr(input_size), hint)
    data_format = "channels_last" if data_format is None else data_format
    if data_format not in ("channels_first", "channels_last"):
        expected = "data_format must be 'channels_first' or 'channels_last'"
        raise ArgumentError(_WHERE, expected, repr(data_format))
    padding = "valid" if padding is None else padding
    if padding not in ("same", "valid"):
        raise ArgumentError(_WHERE, "padding must be 'same' or 'valid'", repr(padding))
    size = check_per_axis(_WHERE, "input_size", input_size, ndim, least=1)
    window = Window(kernel_size, 1 if stride is None else stride, 0, ndim=ndim, where=_WHERE)
    if padding == "same":  # unlike TensorFlow, Keras pads k // 2 before the input at any stride
        pairs = [(k // 2, (k - 1) // 2) for k in window.kernel_size]
        window = Window(window.kernel_size, window.stride, pairs, ndim=ndim, where=_WHERE)
    return _Geometry(size, window, window.output_size(size, _WHERE), data_format == "channels_first")
