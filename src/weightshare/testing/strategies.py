"""Hypothesis strategies for sharings and for layers with any geometry. Requires the package `hypothesis`."""

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from hypothesis import strategies as st

from .. import nn
from ..geometry import PADDING_MODES, Window, split_padding_mode
from ..sharing import Full, Local, LowRank, Mapped, Regional, SharedAlong, Sharing, Tiled

_LAYERS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
#: Approximate maximum number of positions per axis, by number of axes.
_MOST = {1: 11, 2: 7, 3: 4}


@st.composite
def sharings(draw: st.DrawFn, out_size: Sequence[int], one_hot: bool = False) -> Sharing:
    """Draw any sharing that fits a grid of positions.

    Args:
        out_size: Number of positions per axis.
        one_hot: Whether to exclude `LowRank`.
    """
    kinds = ["full", "local", "tiled", "regional", "along", "mapped"] + ["low rank"] * (not one_hot)
    kind = draw(st.sampled_from(kinds))
    if kind in ("tiled", "regional"):
        each = tuple(draw(st.integers(1, n)) for n in out_size)
        scalar = draw(st.booleans())
        number = min(each) if scalar else each
        return Tiled(number) if kind == "tiled" else Regional(number)
    if kind == "along":
        axes = draw(st.sets(st.integers(0, len(out_size) - 1)))
        return SharedAlong(tuple(axis - len(out_size) * draw(st.booleans()) for axis in axes))
    if kind == "mapped":
        positions = prod(out_size)
        raw = draw(st.lists(st.integers(0, 3), min_size=positions, max_size=positions))
        order = {label: bank for bank, label in enumerate(dict.fromkeys(raw))}
        return Mapped(torch.tensor([order[label] for label in raw]).view(*out_size))
    if kind == "low rank":
        return LowRank(draw(st.integers(0, 3)), draw(st.sampled_from(["factorized", "free"])))
    return Full() if kind == "full" else Local()


@st.composite
def layers(
    draw: st.DrawFn,
    ndim: int | None = None,
    dtype: torch.dtype = torch.float64,
    any_padding: bool = False,
    **fixed: Any,
) -> Any:
    """Draw a convolution with any geometry and sharing that is small enough for the oracle.

    Args:
        ndim: Number of spatial axes; None for any of 1, 2 and 3.
        dtype: Dtype of the parameters.
        any_padding: Whether to draw padding per side and padding modes per axis as well, which the layers of
            `torch.nn` do not have.
        fixed: Arguments of the layer that are not drawn, such as `padding_mode="zeros"`.
    """
    ndim = draw(st.integers(1, 3)) if ndim is None else ndim
    kernel, stride, dilation = _draw_steps(draw, ndim)
    one_mode = st.sampled_from(PADDING_MODES)
    mode = fixed.get(
        "padding_mode", draw(one_mode | st.tuples(*[one_mode] * ndim) if any_padding else one_mode)
    )
    kinds = ["numbers", "same", "valid"] + ["pairs"] * any_padding
    padding: Any = fixed.get("padding", draw(st.sampled_from(kinds)))
    if padding == "numbers":
        padding = _draw_per_axis(draw, ndim, 0, 2)
    elif padding == "pairs":
        padding = tuple(_draw_per_axis(draw, 2, 0, 2) for _ in range(ndim))
    elif padding == "same":
        stride = (1,) * ndim
    window = Window(kernel, stride, padding, dilation)
    least = [  # the smallest inputs that cover the window and can be padded
        max(1, e - sum(pair), max(pair) + 1 if of_axis in ("circular", "reflect") else 1)
        for e, pair, of_axis in zip(window.extent, window.padding, split_padding_mode(mode, ndim))
    ]
    size = tuple(draw(st.integers(low, _MOST[ndim] + e)) for low, e in zip(least, window.extent))
    out_size = window.output_size(size)
    arguments = {
        **_draw_channels(draw),
        "kernel_size": kernel,
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "padding_mode": mode,
        "dtype": dtype,
        "sharing": draw(sharings(out_size)),
        "input_size": size,
        "bias_sharing": draw(st.none() | sharings(out_size, one_hot=True)),
    }
    return _draw_layer(draw, _LAYERS[ndim], {**arguments, **fixed})


@st.composite
def transposed_layers(
    draw: st.DrawFn, ndim: int | None = None, dtype: torch.dtype = torch.float64, **fixed: Any
) -> Any:
    """Draw a transposed convolution with any geometry and sharing that is small enough for the oracle.

    Args:
        ndim: Number of spatial axes; None for any of 1, 2 and 3.
        dtype: Dtype of the parameters.
        fixed: Arguments of the layer that are not drawn, such as `bias=False`.
    """
    ndim = draw(st.integers(1, 3)) if ndim is None else ndim
    kernel, stride, dilation = _draw_steps(draw, ndim)
    padding = fixed.get("padding", _draw_per_axis(draw, ndim, 0, 2))
    window = Window(kernel, stride, padding, dilation)
    extra = tuple(draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation))
    least = [  # the smallest inputs whose outputs are not empty after the padding is removed
        max(1, 1 - (e + x - sum(pair) - 1) // s)
        for e, x, pair, s in zip(window.extent, extra, window.padding, stride)
    ]
    size = tuple(draw(st.integers(low, max(low, _MOST[ndim]))) for low in least)
    out_size = window.transposed_size(size, extra)
    arguments = {
        **_draw_channels(draw),
        "kernel_size": kernel,
        "stride": stride,
        "padding": padding,
        "output_padding": extra,
        "dilation": dilation,
        "dtype": dtype,
        "sharing": draw(sharings(size)),
        "input_size": size,
        "bias_sharing": draw(st.none() | sharings(out_size, one_hot=True)),
    }
    return _draw_layer(draw, _TRANSPOSED[ndim], {**arguments, **fixed})


def _draw_per_axis(draw: st.DrawFn, ndim: int, least: int, greatest: int) -> tuple[int, ...]:
    return tuple(draw(st.integers(least, greatest)) for _ in range(ndim))


def _draw_steps(draw: st.DrawFn, ndim: int) -> tuple[tuple[int, ...], ...]:
    """Draw kernel size, stride and dilation."""
    kernel, dilation = _draw_per_axis(draw, ndim, 1, 3 if ndim < 3 else 2), _draw_per_axis(draw, ndim, 1, 2)
    return kernel, _draw_per_axis(draw, ndim, 1, 3), dilation


def _draw_channels(draw: st.DrawFn) -> dict[str, Any]:
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    return {
        "in_channels": groups * draw(st.integers(1, 2)),
        "out_channels": groups * draw(st.integers(1, 2)),
        "groups": groups,
        "bias": draw(st.booleans()),
    }


def _draw_layer(draw: st.DrawFn, kind: Any, arguments: dict[str, Any]) -> Any:
    """Build a layer with random parameters, since the corrections of `LowRank` are initially zero."""
    torch.manual_seed(draw(st.integers(0, 2**16)))
    layer = kind(**arguments)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_()
    return layer
