"""Convert locally connected layers of Flax (`flax.linen.ConvLocal`), without importing Flax."""

from collections.abc import Mapping, Sequence
from typing import Any

from .._args import Size, check_per_axis, format_size
from ..backends import PaddingMode
from ..errors import ArgumentError, ShapeError
from ..geometry import Window
from .external import Layer, check_array_shape, convert_padding, make_locally_connected, read_array

_WHERE = "from_flax"


def from_flax(
    params: Mapping[str, Any],
    *,
    input_size: Size,
    kernel_size: Size,
    stride: Size = 1,
    padding: Size | Sequence[Sequence[int]] | str = "SAME",
    dilation: Size = 1,
) -> Layer:
    """Return a locally connected layer with the parameters of a `flax.linen.ConvLocal`.

    The layer computes the same function, on inputs in torch's order [N, C, *size]. Because the parameters do
    not contain the geometry, pass the arguments of the Flax layer under their torch names: `strides` as
    `stride`, `kernel_dilation` as `dilation`. `input_dilation` is not supported. For a masked layer, pass
    `kernel * mask`.

    Args:
        params: {"kernel": array} or {"kernel": array, "bias": array}, possibly nested in {"params": ...}.
        input_size: Spatial size of the input, an int or one per axis.
        kernel_size: Number of taps, an int or one per axis.
        stride: Inputs from one output position to the next.
        padding: Padding as in Flax: integers, one pair (before, after) per axis, "SAME" (the default of
            Flax), "VALID", "CIRCULAR", "REFLECT" or, for one axis, "CAUSAL".
        dilation: Inputs from one tap to the next.

    Shape:
        kernel [*out, in * taps, out_channels], where the channels of a receptive field come before its taps;
        bias [*out, out_channels]. One to three spatial axes.

    Raises:
        ArgumentError: If `params` has no such arrays, or if the padding differs before and after an axis and
            is not torch's "same" padding. For such padding, the error describes how to pad the input
            instead.
        ShapeError: If an array does not have the shape that follows from the geometry.

    Example:
        >>> import numpy as np, torch
        >>> kernel = np.zeros((4, 5, 3 * 2 * 3, 8), np.float32)  # ConvLocal(8, (2, 3), padding="VALID")
        >>> bias = np.zeros((4, 5, 8), np.float32)  # for inputs of 5 x 7 with 3 channels
        >>> params = {"kernel": kernel, "bias": bias}
        >>> layer = from_flax(params, input_size=(5, 7), kernel_size=(2, 3), padding="VALID")
        >>> layer(torch.zeros(1, 3, 5, 7)).shape
        torch.Size([1, 8, 4, 5])

    Source: flax.linen.ConvLocal and jax.lax.conv_general_dilated_local.
    """
    arrays = _find_arrays(params)
    kernel = read_array(_WHERE, "kernel", arrays["kernel"])
    ndim = kernel.dim() - 2
    if not 1 <= ndim <= 3:
        raise ShapeError(
            _WHERE,
            "kernel must be [*out, in * taps, out_channels] with one to three output axes",
            str(list(kernel.shape)),
            "pass the parameters of a ConvLocal",
        )
    size = check_per_axis(_WHERE, "input_size", input_size, ndim, least=1)
    window, mode = _make_window(kernel_size, stride, padding, dilation, size)
    torch_padding = convert_padding(_WHERE, window, _explain_padding(window, size, mode))
    out = window.output_size(size, _WHERE, mode)
    hint = (
        "check input_size, kernel_size, stride, padding and dilation, which result in an output of "
        f"{format_size(out)} and {window.taps} taps"
    )
    expected = (*out, (window.taps, "in"), (1, "out_channels"))
    check_array_shape(_WHERE, "kernel", "[*out, in * taps, out_channels]", expected, kernel, hint)
    kernels = kernel.unflatten(-2, (-1, *window.kernel_size)).movedim(ndim, -2)
    bias = None if arrays.get("bias") is None else read_array(_WHERE, "bias", arrays["bias"])
    if bias is not None:
        expected = (*out, kernel.shape[-1])
        check_array_shape(_WHERE, "bias", "[*out, out_channels]", expected, bias, hint)
        bias = bias.flatten(0, -2)
    return make_locally_connected(kernels, bias, window, torch_padding, mode, size)


def _find_arrays(params: Any) -> Mapping[str, Any]:
    """Return the mapping that contains "kernel" and possibly "bias"."""
    got = type(params).__name__
    if isinstance(params, Mapping) and "params" in params:
        params = params["params"]
        got = f"{type(params).__name__} under 'params'"
    if isinstance(params, Mapping):
        if "kernel" in params and set(params) <= {"kernel", "bias"}:
            return params
        got = f"the keys {sorted(map(str, params))}"
    raise ArgumentError(
        _WHERE,
        "params must have the key 'kernel' and, optionally, 'bias'",
        got,
        "pass the parameters of one layer, such as variables['params']['ConvLocal_0']",
    )


def _make_window(
    kernel_size: Size,
    stride: Size,
    padding: Size | Sequence[Sequence[int]] | str,
    dilation: Size,
    size: tuple[int, ...],
) -> tuple[Window, PaddingMode]:
    """Return the window with Flax's padding as integers, and the padding mode of torch."""
    window = Window(kernel_size, stride, 0, dilation, ndim=len(size), where=_WHERE)
    mode: PaddingMode = "zeros"
    if isinstance(padding, str):
        name, extent = padding.upper(), window.extent
        if name == "VALID":
            padding = 0
        elif name == "SAME":
            lengths = [(-(-n // s) - 1) * s + e for n, s, e in zip(size, window.stride, extent)]
            totals = [max(length - n, 0) for length, n in zip(lengths, size)]
            padding = [(total // 2, total - total // 2) for total in totals]
        elif name in ("CIRCULAR", "REFLECT"):
            padding = [((e - 1) // 2, e // 2) for e in extent]
            mode = "circular" if name == "CIRCULAR" else "reflect"
        elif name == "CAUSAL" and len(size) == 1:
            padding = [(extent[0] - 1, 0)]
        else:
            raise ArgumentError(
                _WHERE,
                "padding must be integers, (before, after) pairs, 'CAUSAL' (for one spatial axis), "
                "'CIRCULAR', 'REFLECT', 'SAME' or 'VALID'",
                repr(padding),
            )
    return Window(kernel_size, stride, padding, dilation, ndim=len(size), where=_WHERE), mode


def _explain_padding(window: Window, size: tuple[int, ...], mode: str) -> str:
    """Return the hint that describes how to pad the input instead of the layer."""
    amounts = tuple(n for pair in reversed(window.padding) for n in pair)
    argument = "" if mode == "zeros" else f", mode={mode!r}"
    return (
        f"pad the input with torch.nn.functional.pad(input, {amounts}{argument}) and pass padding='VALID', "
        f"input_size={window.padded_size(size)}"
    )
