"""Hypothesis strategies for sharing values and layers of every geometry. Needs the package `hypothesis`."""

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from hypothesis import strategies as st

from .. import nn
from ..geometry import PADDING_MODES, Window
from ..sharing import Full, Local, LowRank, Mapped, Regional, SharedAlong, Sharing, Tiled

_LAYERS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


@st.composite
def sharings(draw: st.DrawFn, out_size: Sequence[int], one_hot: bool = False) -> Sharing:
    """Any sharing that fits an output.

    Args:
        out_size: Output positions on every axis.
        one_hot: Leave `LowRank` out.
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
def layers(draw: st.DrawFn, ndim: int | None = None, dtype: torch.dtype = torch.float64, **fixed: Any) -> Any:
    """Layers of every geometry and sharing, small enough for the oracle.

    Args:
        ndim: Number of spatial axes; any of 1 to 3 where None.
        dtype: Of the parameters.
        fixed: Arguments of the layer to hold fixed, such as `padding_mode="zeros"`.
    """
    ndim = ndim or draw(st.integers(1, 3))
    most = {1: 11, 2: 7, 3: 4}[ndim]

    def per_axis(least, greatest):
        return tuple(draw(st.integers(least, greatest)) for _ in range(ndim))

    kernel, dilation = per_axis(1, 3 if ndim < 3 else 2), per_axis(1, 2)
    stride = per_axis(1, 3)
    mode = fixed.get("padding_mode", draw(st.sampled_from(PADDING_MODES)))
    padding: Any = fixed.get("padding", draw(st.sampled_from(["numbers", "same", "valid"])))
    if padding == "numbers":
        padding = per_axis(0, 2)
    elif padding == "same":
        stride = (1,) * ndim
    window = Window(kernel, stride, padding, dilation)
    reach = max(max(pair) for pair in window.padding) + 1
    size = tuple(
        draw(st.integers(max(e - sum(pair), reach if mode in ("circular", "reflect") else 1, 1), most + e))
        for e, pair in zip(window.extent, window.padding)
    )
    out_size = window.output_size(size)
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    arguments = {
        "in_channels": groups * draw(st.integers(1, 2)),
        "out_channels": groups * draw(st.integers(1, 2)),
        "kernel_size": kernel,
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "groups": groups,
        "bias": draw(st.booleans()),
        "padding_mode": mode,
        "dtype": dtype,
        "sharing": draw(sharings(out_size)),
        "input_size": size,
        "bias_sharing": draw(st.none() | sharings(out_size, one_hot=True)),
    }
    torch.manual_seed(draw(st.integers(0, 2**16)))
    layer = _LAYERS[ndim](**{**arguments, **fixed})
    with torch.no_grad():
        for parameter in layer.parameters():  # corrections of low rank start at zero
            parameter.normal_()
    return layer
