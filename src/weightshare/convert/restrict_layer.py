"""Restrict a single layer by least squares over the taps that touch the input, in float64."""

from typing import Any

import torch
from torch import Tensor

from ..errors import ArgumentError, ConversionError
from ..nn.base import SharedLayer
from ..sharing import LowRank, Sharing
from . import low_rank
from .convolutions import as_shared, fill, make_like
from .kernels import average_by_bank, find_inputs, gather_biases, gather_kernels, to_bias, to_weight
from .relax_layer import relax_layer


@torch.no_grad()
def restrict_layer(
    layer: torch.nn.Module, sharing: Any, bias_sharing: Sharing | None = None
) -> tuple[SharedLayer, float, float]:
    """Return the nearest layer of another sharing, the error of its kernels, and the error of its biases."""
    _check_arguments(layer, sharing)
    source = as_shared(layer)
    target = make_like(source, sharing, source.input_size, bias_sharing)
    size = target.position_size
    if size is None:
        return relax_layer(source, sharing), 0.0, 0.0
    _check_values(source)
    kernels = gather_kernels(source, size).double().flatten(3)
    touches = (find_inputs(target) >= 0).to(kernels.device)
    if isinstance(sharing, LowRank):
        values = low_rank.fit(kernels, sharing, size, touches, torch.finfo(source.weight.dtype).eps)
    else:
        banks = average_by_bank(kernels, touches, sharing.labels(size), sharing.banks(size))
        values = {"weight": banks}
    values["weight"] = to_weight(values["weight"].unflatten(3, source.kernel_size), sharing)
    if source.bias is not None:
        values["bias"] = _average_biases(source, target)
    result = fill(target, source, values)
    return result, _compute_kernel_error(kernels, result, touches), _compute_bias_error(source, result)


def _check_arguments(layer: torch.nn.Module, sharing: Any) -> None:
    if not isinstance(sharing, Sharing):
        hint = "convert text with parse_sharing()"
        raise ArgumentError("restrict", "the plan for a layer must be a sharing", repr(sharing), hint)
    if not isinstance(layer, SharedLayer):
        raise ConversionError(
            type(layer).__name__,
            "the layer must be one of weightshare.nn",
            "a torch.nn layer, which is already fully shared",
            "use relax(layer, sharing, input_size=...) to share less",
        )


def _check_values(source: SharedLayer) -> None:
    """Raise `ConversionError` if a parameter has no values, or values that are not finite."""
    where = type(source).__name__
    for name, parameter in source.named_parameters(recurse=False):
        if parameter.is_meta:
            hint = "load the weights on another device first"
            raise ConversionError(where, f"{name} must have values", "a tensor on the meta device", hint)
        if (bad := int((~parameter.isfinite()).sum())) > 0:
            raise ConversionError(
                where,
                f"{name} must be finite",
                f"NaN or infinity in {bad:,} of {parameter.numel():,} elements",
                "replace them first, for example with torch.nan_to_num",
            )


def _average_biases(source: SharedLayer, target: SharedLayer) -> Tensor:
    sharing, size = target.bias_sharing, target.output_size or ()
    biases = gather_biases(source, size).double()[:, None, :, None]
    touches = torch.ones(len(biases), 1, dtype=torch.bool, device=biases.device)
    means = average_by_bank(biases, touches, sharing.labels(size), sharing.banks(size))
    return to_bias(means[:, 0, :, 0], sharing)


def _compute_kernel_error(kernels: Tensor, result: SharedLayer, touches: Tensor) -> float:
    new = gather_kernels(result, result.position_size).double().flatten(3)
    counts = touches[:, None, None]
    return _compare(torch.where(counts, new, 0.0), torch.where(counts, kernels, 0.0))


def _compute_bias_error(source: SharedLayer, result: SharedLayer) -> float:
    if source.bias is None:
        return 0.0
    old = gather_biases(source, result.output_size).double()
    return _compare(gather_biases(result, result.output_size).double(), old)


def _compare(new: Tensor, old: Tensor) -> float:
    """Return the norm of the difference relative to the norm of `old`, or the absolute norm if `old` is 0."""
    scale = float(old.norm())
    return float((new - old).norm()) / (scale if scale > 0 else 1.0)
