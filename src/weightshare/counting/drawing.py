"""A layer as the data that the explorer draws."""

from typing import Any

from ..sharing import Mapped, Sharing
from .block import Block
from .counts import Counts
from .spec import LayerSpec

_MAX_SIZE = 100_000  # the largest size or number of channels that the explorer reads
_MAX_COUNT = 2**53  # JavaScript represents every integer up to this one exactly
_MAX_LABELS = 2**16
_MAX_TAPS = 2_000_000  # positions times taps of one axis


def describe_state(counts: Counts) -> dict[str, Any] | None:
    """Return the state in which the explorer shows a layer.

    The state is None if the explorer cannot show it: without an input size, for a layer that is not a
    convolution or is too large, and for a layer with one padding mode per axis.
    """
    layer = counts.layer
    if isinstance(layer, Block) or counts.input is None or counts.output is None or not layer.ndim:
        return None
    if not isinstance(layer.padding_mode, str):
        return None
    window = layer.window
    sizes = (*counts.input, *counts.output, *window.kernel_size, *window.stride, *window.dilation)
    padding = (width for pair in window.padding for width in pair)
    largest = max(counts.macs or 0, *(n for n in counts.by_sharing.values() if n is not None))
    if max(*sizes, *padding) > _MAX_SIZE or largest > _MAX_COUNT:
        return None
    positions = layer.position_size(counts.input[1:])
    if any(n * taps > _MAX_TAPS for n, taps in zip(positions, window.kernel_size)):
        return None
    sharings = (layer.sharing, layer.bias_sharing)
    if any(isinstance(one, Mapped) and len(one.flat) > _MAX_LABELS for one in sharings):
        return None
    return {"chapter": "counts", "question": None, "layer": describe_layer(layer, counts.input[1:])}


def describe_layer(layer: LayerSpec, input_size: tuple[int, ...]) -> dict[str, Any]:
    """Return the layer as JSON-compatible data with the names that `web/src/core/layer.js` reads.

    Args:
        layer: A layer with one to three spatial axes.
        input_size: Spatial size of the input.
    """
    window = layer.window
    return {
        "transposed": layer.transposed,
        "inChannels": layer.in_channels,
        "outChannels": layer.out_channels,
        "kernelSize": list(window.kernel_size),
        "stride": list(window.stride),
        "padding": [list(pair) for pair in window.padding],
        "dilation": list(window.dilation),
        "outputPadding": list(layer.output_padding),
        "groups": layer.groups,
        "bias": layer.bias,
        "paddingMode": layer.padding_mode,
        "sharing": _describe_sharing(layer.sharing),
        "biasSharing": None if layer.bias_sharing is None else _describe_sharing(layer.bias_sharing),
        "inputSize": list(input_size),
    }


def _describe_sharing(sharing: Sharing) -> str | dict[str, Any]:
    if isinstance(sharing, Mapped):
        return {"type": "mapped", "labels": list(sharing.flat)}
    return str(sharing)
