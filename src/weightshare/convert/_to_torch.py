"""Convert a fully shared layer to a `torch.nn` convolution."""

from typing import Any

import torch

from ..errors import ConversionError
from ..parameters.modules import check_module
from .convolutions import as_shared, fill, get_arguments, get_class_name
from .ties import check_reads_nothing


@torch.no_grad()
def to_torch(layer: torch.nn.Module) -> Any:
    """Return a layer with `Full` sharing of kernel and bias as a `torch.nn.ConvNd` or `ConvTransposeNd`.

    The parameters are copied. The checkpoint of either layer loads into the other.

    Raises:
        ArgumentError: If `layer` is not a module.
        ConversionError: If the layer has any other sharing, reads a parameter of another module, or has
            padding that `torch.nn` does not have: different sizes at the two ends of an axis, or different
            modes per axis.

    Example:
        >>> from weightshare import nn
        >>> to_torch(nn.Conv2d(3, 8, 3, padding=1))
        Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
    """
    check_module("to_torch", layer)
    check_reads_nothing("to_torch", layer)
    source = as_shared(layer)
    if not source._takes_any_size:
        bias = "" if source.bias is None else f" with bias sharing {source.bias_sharing!r}"
        raise ConversionError(
            type(layer).__name__,
            "kernel and bias must have Full() sharing",
            f"{source.sharing!r}{bias}",
            "use restrict(layer, Full()) for the nearest such layer",
        )
    padding, mode = source.padding, source.padding_mode
    if not isinstance(mode, str) or not all(isinstance(p, int | str) for p in padding):
        raise ConversionError(
            type(layer).__name__,
            "padding must be equal at both ends of each axis, and padding_mode the same on each axis",
            f"padding={padding}, padding_mode={mode!r}",
            "torch.nn has no such layer; pad the input with torch.nn.functional.pad instead",
        )
    factory = {"bias": source.bias is not None, "device": "meta", "dtype": source.weight.dtype}
    target = getattr(torch.nn, get_class_name(source))(**get_arguments(source), **factory)
    return fill(target, source, dict(source.named_parameters()))
