"""Relax a single convolution: read the banks of the new sharing from the kernels of the current one."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .._args import Size, format_size
from ..errors import ArgumentError, ConversionError
from ..nn.base import SharedLayer
from ..nn.checks import check_memory
from ..sharing import LowRank, Sharing
from . import low_rank
from .convolutions import as_shared, choose_input_size, fill, make_like
from .kernels import gather_biases, gather_kernels, list_first_positions, to_bias, to_weight


@torch.no_grad()
def relax_layer(
    layer: torch.nn.Module,
    sharing: Any,
    input_size: Size | None = None,
    bias_sharing: Sharing | None = None,
) -> SharedLayer:
    """Return a layer with the same kernels and a sharing that refines the current one; see `relax`."""
    if not isinstance(sharing, Sharing):
        hint = "convert text with parse_sharing()"
        raise ArgumentError("relax", "the plan for a layer must be a sharing", repr(sharing), hint)
    source = as_shared(layer)
    size = choose_input_size(source, input_size)
    target = make_like(source, sharing, size, bias_sharing)
    elements = sum(parameter.numel() for parameter in target.parameters())
    check_memory(type(source).__name__, sharing, elements, source.weight.detach())
    if bias_sharing is None and not _can_hold_biases(target, source):
        target = make_like(source, sharing, size, source.bias_sharing)
    _check_refines(source, target)
    positions: Any = target.position_size
    if isinstance(sharing, LowRank):
        values = _relax_to_low_rank(source, sharing, positions)
    else:
        banks = gather_kernels(source, positions, list_first_positions(sharing, positions))
        values = {"weight": to_weight(banks, sharing)}
    if source.bias is not None:
        first = list_first_positions(target.bias_sharing, target.output_size)
        biases = gather_biases(source, target.output_size)[first]
        values["bias"] = to_bias(biases, target.bias_sharing)
    return fill(target, source, values)


def _can_hold_biases(target: SharedLayer, source: SharedLayer) -> bool:
    size = target.output_size
    return source.bias is None or size is None or target.bias_sharing.refines(source.bias_sharing, size)


def _check_refines(source: SharedLayer, target: SharedLayer) -> None:
    """Raise `ConversionError` unless the target can represent the kernels and biases of the source."""
    where, positions = type(source).__name__, target.position_size
    if positions is not None and not target.sharing.refines(source.sharing, positions):
        raise ConversionError(
            where,
            f"the new sharing {target.sharing!r} must refine the current one",
            f"{source.sharing!r} on {format_size(positions)} positions",
            f"use restrict(layer, {target.sharing!r}) for the nearest layer",
        )
    if not _can_hold_biases(target, source):
        raise ConversionError(
            where,
            f"bias_sharing={target.bias_sharing!r} must refine the current one",
            f"{source.bias_sharing!r} on an output of size {format_size(target.output_size or ())}",
            "omit bias_sharing, or use restrict",
        )


def _relax_to_low_rank(source: SharedLayer, sharing: LowRank, size: Sequence[int]) -> dict[str, Tensor]:
    """Return weight and coefficients: the current ones plus zero corrections if possible, else a fit."""
    current = source.sharing
    banks, shapes = source.kernels(), sharing.coefficient_shapes(size)
    if current.banks(size) == 1:
        coefficients = {name: banks.new_zeros(0, *shape[1:]) for name, shape in shapes.items()}
    elif not isinstance(current, LowRank) or current.rank > sharing.rank:
        return low_rank.fit(gather_kernels(source, size), sharing, size)
    elif current.coefficients == sharing.coefficients:
        coefficients = {name: getattr(source, name) for name in shapes}
    else:
        coefficients = low_rank.split_coefficients(source.assignment()[:, 1:].double(), sharing, size)
    return low_rank.pad_to_rank({"weight": banks, **coefficients}, sharing.rank)
