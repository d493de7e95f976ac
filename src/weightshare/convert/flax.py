"""Locally connected layers of Flax (`flax.linen.ConvLocal`), without importing it."""

from collections.abc import Mapping, Sequence
from typing import Any

from .._args import Size, per_axis, times
from ..errors import ArgumentError, ShapeError
from ..geometry import Window
from ._foreign import Layer, check_shape, floats, layer_padding, locally_connected

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
    """Make a locally connected layer from the parameters of a `flax.linen.ConvLocal`.

    The layer computes what Flax computes, on input in torch's order [N, C, *size]. Parameters do not tell
    the geometry: give what the Flax layer was given, in torch's names (`strides` is `stride`,
    `kernel_dilation` is `dilation`). A scalar means the same on every axis. `input_dilation` has no
    counterpart; of a masked layer, pass `kernel * mask`.

    Args:
        params: {"kernel": array} or {"kernel": array, "bias": array}, also inside {"params": ...}.
        input_size: Spatial size of the input.
        kernel_size: Taps on every axis.
        stride: Inputs from one output position to the next.
        padding: As Flax spells it: integers, one (before, after) an axis, "SAME" (Flax's own default),
            "VALID", "CIRCULAR", "REFLECT" or, of one axis, "CAUSAL".
        dilation: Inputs from one tap to the next.

    Shape:
        kernel [*out, in * taps, out_channels], the channels of a receptive field before its taps;
        bias [*out, out_channels]. One to three spatial axes.

    Raises:
        ArgumentError: no such parameters, or a padding that is not the same on both sides of an axis and not
            that of torch's "same": the error says how to pad the input instead.
        ShapeError: arrays that do not have the shapes of this geometry.

    Example:
        >>> import numpy as np, torch
        >>> kernel = np.zeros((4, 5, 3 * 2 * 3, 8), np.float32)  # ConvLocal(8, (2, 3), padding="VALID")
        >>> bias = np.zeros((4, 5, 8), np.float32)  # on 5 x 7 pixels of 3 channels
        >>> params = {"kernel": kernel, "bias": bias}
        >>> layer = from_flax(params, input_size=(5, 7), kernel_size=(2, 3), padding="VALID")
        >>> layer(torch.zeros(1, 3, 5, 7)).shape
        torch.Size([1, 8, 4, 5])

    Source: flax.linen.ConvLocal and jax.lax.conv_general_dilated_local.
    """
    arrays = _arrays(params)
    kernel = floats(_WHERE, "kernel", arrays["kernel"])
    ndim = kernel.dim() - 2
    if not 1 <= ndim <= 3:
        raise ShapeError(
            _WHERE,
            "kernel must be [*out, in * taps, out_channels] with one to three output axes",
            str(list(kernel.shape)),
            "pass the parameters of a ConvLocal",
        )
    size = per_axis(_WHERE, "input_size", input_size, ndim, least=1)
    window, mode = _window(kernel_size, stride, padding, dilation, size)
    torch_padding = layer_padding(_WHERE, window, _pad_the_input(window, size, mode))
    out = window.output_size(size, _WHERE, mode)
    hint = (
        f"check input_size, kernel_size, stride, padding and dilation, which give an output of {times(out)} "
        f"with {window.taps} taps"
    )
    expected = (*out, (window.taps, "in"), (1, "out_channels"))
    check_shape(_WHERE, "kernel", "[*out, in * taps, out_channels]", expected, kernel, hint)
    kernels = kernel.unflatten(-2, (-1, *window.kernel_size)).movedim(ndim, -2)
    bias = None if arrays.get("bias") is None else floats(_WHERE, "bias", arrays["bias"])
    if bias is not None:
        expected = (*out, kernel.shape[-1])
        check_shape(_WHERE, "bias", "[*out, out_channels]", expected, bias, hint)
        bias = bias.flatten(0, -2)
    return locally_connected(kernels, bias, window, torch_padding, mode, size)


def _arrays(params: Any) -> Mapping[str, Any]:
    """The mapping that holds "kernel" and perhaps "bias"."""
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
        "params must map 'kernel', and 'bias' if there is one, to arrays",
        got,
        "pass one layer's own, such as variables['params']['ConvLocal_0']",
    )


def _window(
    kernel_size: Size, stride: Size, padding: Any, dilation: Size, size: tuple[int, ...]
) -> tuple[Window, str]:
    """The window with its padding in numbers, and torch's padding mode."""
    window = Window(kernel_size, stride, 0, dilation, ndim=len(size), where=_WHERE)
    mode = "zeros"
    if isinstance(padding, str):
        name, extent = padding.upper(), window.extent
        if name == "VALID":
            padding = 0
        elif name == "SAME":
            lengths = [(-(-n // s) - 1) * s + e for n, s, e in zip(size, window.stride, extent)]
            totals = [max(length - n, 0) for length, n in zip(lengths, size)]
            padding = [(total // 2, total - total // 2) for total in totals]
        elif name in ("CIRCULAR", "REFLECT"):
            padding, mode = [((e - 1) // 2, e // 2) for e in extent], name.lower()
        elif name == "CAUSAL" and len(size) == 1:
            padding = [(extent[0] - 1, 0)]
        else:
            raise ArgumentError(
                _WHERE,
                "padding must be integers, (before, after) pairs, 'CAUSAL' (of one spatial axis), "
                "'CIRCULAR', 'REFLECT', 'SAME' or 'VALID'",
                repr(padding),
                "use one of these",
            )
    return Window(kernel_size, stride, padding, dilation, ndim=len(size), where=_WHERE), mode


def _pad_the_input(window: Window, size: tuple[int, ...], mode: str) -> str:
    amounts = tuple(n for pair in reversed(window.padding) for n in pair)
    named = "" if mode == "zeros" else f", mode={mode!r}"
    return (
        f"pad the input by torch.nn.functional.pad(input, {amounts}{named}) and give padding='VALID', "
        f"input_size={window.padded_size(size)}"
    )
