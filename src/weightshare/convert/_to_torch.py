"""Back to torch's own convolutions."""

from typing import Any

import torch

from ..errors import ConversionError
from .layers import arguments, as_ours, fill, name_of


@torch.no_grad()
def to_torch(layer: Any) -> Any:
    """A layer with `Full` sharing of kernel and bias as `torch.nn.ConvNd` or `ConvTransposeNd`.

    The parameters are copied; the checkpoint of one loads into the other.

    Raises:
        ConversionError: a layer of any other sharing.

    Example:
        >>> from weightshare import nn
        >>> to_torch(nn.Conv2d(3, 8, 3, padding=1))
        Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
    """
    source = as_ours(layer)
    if not source._takes_any_size:
        raise ConversionError(
            type(layer).__name__,
            "to be torch's own convolution, kernel and bias must both be shared by Full()",
            f"{source.sharing!r} with bias {source.bias_sharing!r}"
            if source.bias is not None
            else repr(source.sharing),
            "use restrict(layer, Full()), which gives the nearest one",
        )
    factory = {"bias": source.bias is not None, "device": "meta", "dtype": source.weight.dtype}
    target = getattr(torch.nn, name_of(source))(**arguments(source), **factory)
    return fill(target, source, dict(source.named_parameters()))
