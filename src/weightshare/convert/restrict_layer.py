"""Restricting one layer: least squares over the taps that touch the input, in float64."""

from typing import Any

import torch
from torch import Tensor

from ..errors import ArgumentError, ConversionError
from ..sharing import LowRank, Sharing
from . import low_rank
from .layers import OURS, as_bias, as_ours, as_weight, biases_at, fill, kernels_at, like, taps_of
from .means import bank_means
from .relax_layer import relax_layer


@torch.no_grad()
def restrict_layer(
    layer: Any, sharing: Any, bias_sharing: Sharing | None = None
) -> tuple[torch.nn.Module, float, float]:
    """The nearest layer of another sharing, the error of its kernels and that of its biases."""
    _check(layer, sharing)
    source = as_ours(layer)
    target = like(source, sharing, source.input_size, bias_sharing)
    size = target.position_size
    if size is None:
        return relax_layer(source, sharing), 0.0, 0.0
    _check_values(source)
    kernels = kernels_at(source, size).double().flatten(3)
    touch = (taps_of(target) >= 0).to(kernels.device)
    if isinstance(sharing, LowRank):
        values = low_rank.fit(kernels, sharing, size, touch, torch.finfo(source.weight.dtype).eps)
    else:
        banks = bank_means(kernels, touch, sharing.labels(size), sharing.banks(size))
        values = {"weight": banks}
    values["weight"] = as_weight(values["weight"].unflatten(3, source.kernel_size), sharing)
    if source.bias is not None:
        values["bias"] = _biases(source, target)
    result = fill(target, source, values)
    return result, _kernel_error(kernels, result, touch), _bias_error(source, result)


def _check(layer: Any, sharing: Any) -> None:
    if not isinstance(sharing, Sharing):
        hint = "convert text with parse_sharing()"
        raise ArgumentError("restrict", "the new sharing must be one such as Tiled(2)", repr(sharing), hint)
    if not isinstance(layer, OURS):
        raise ConversionError(
            type(layer).__name__,
            "to restrict a layer, it must be one of weightshare.nn",
            "one of torch.nn, which shares all it can",
            "use relax(layer, sharing, input_size=...) to share less",
        )


def _check_values(source: Any) -> None:
    """Refuse parameters that have no nearest ones."""
    where = type(source).__name__
    for name, parameter in source.named_parameters(recurse=False):
        if parameter.is_meta:
            raise ConversionError(
                where,
                f"to restrict it, its {name} must hold numbers",
                "one on the meta device",
                "restrict it on a real device, with its weights loaded",
            )
        if (bad := int((~parameter.isfinite()).sum())) > 0:
            raise ConversionError(
                where,
                f"to restrict it, its {name} must be finite",
                f"NaN or infinity in {bad:,} of {parameter.numel():,} numbers",
                "find out where they come from, or replace them, as torch.nan_to_num does",
            )


def _biases(source: Any, target: Any) -> Tensor:
    biases = biases_at(source, target.output_size).double()[:, None, :, None]
    sharing, size = target.bias_sharing, target.output_size
    always = torch.ones(len(biases), 1, dtype=torch.bool, device=biases.device)
    return as_bias(bank_means(biases, always, sharing.labels(size), sharing.banks(size))[:, 0, :, 0], sharing)


def _kernel_error(kernels: Tensor, result: Any, touch: Tensor) -> float:
    new = kernels_at(result, result.position_size).double().flatten(3)
    seen = touch[:, None, None]
    return _relative(torch.where(seen, new - kernels, 0.0), torch.where(seen, kernels, 0.0))


def _bias_error(source: Any, result: Any) -> float:
    if source.bias is None:
        return 0.0
    old = biases_at(source, result.output_size).double()
    return _relative(biases_at(result, result.output_size).double() - old, old)


def _relative(difference: Tensor, to: Tensor) -> float:
    """Norm relative to another, absolute where that is 0."""
    size = float(to.norm())
    return float(difference.norm()) / (size if size > 0 else 1.0)
