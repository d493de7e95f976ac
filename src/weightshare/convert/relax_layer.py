"""Relaxing one convolution: the banks of the new sharing, read off the kernels of the old one."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .._args import Size, times
from ..errors import ArgumentError, ConversionError
from ..sharing import LowRank, Sharing
from . import low_rank
from .layers import as_bias, as_ours, as_weight, biases_at, fill, first_of, kernels_at, like, size_for


@torch.no_grad()
def relax_layer(
    layer: Any, sharing: Any, input_size: Size | None = None, bias_sharing: Sharing | None = None
) -> Any:
    """A new layer of a sharing that refines the old one, with the same kernels; see `relax`."""
    if not isinstance(sharing, Sharing):
        hint = "convert text with parse_sharing()"
        raise ArgumentError("relax", "the new sharing must be one such as Local()", repr(sharing), hint)
    source = as_ours(layer)
    size = size_for(source, input_size)
    target = like(source, sharing, size, bias_sharing)
    if bias_sharing is None and not _holds_biases(target, source):
        target = like(source, sharing, size, source.bias_sharing)
    positions = target.position_size
    _check(source, target, positions)
    if isinstance(sharing, LowRank):
        values = _low_rank(source, sharing, positions)  # type: ignore[arg-type]
    else:
        banks = kernels_at(source, positions, first_of(sharing, positions))
        values = {"weight": as_weight(banks, sharing)}
    if source.bias is not None:
        first = first_of(target.bias_sharing, target.output_size)
        biases = biases_at(source, target.output_size)[first]
        values["bias"] = as_bias(biases, target.bias_sharing)
    return fill(target, source, values)


def _holds_biases(target: Any, source: Any) -> bool:
    size = target.output_size
    return source.bias is None or size is None or target.bias_sharing.refines(source.bias_sharing, size)


def _check(source: Any, target: Any, positions: tuple[int, ...] | None) -> None:
    """Refuse what cannot hold the old kernels or biases."""
    where = type(source).__name__
    if positions is not None and not target.sharing.refines(source.sharing, positions):
        raise ConversionError(
            where,
            f"to relax it, the new sharing {target.sharing!r} must refine the old one",
            f"{source.sharing!r} on {times(positions)} positions",
            f"use restrict(layer, {target.sharing!r}), which gives the nearest layer",
        )
    if not _holds_biases(target, source):
        raise ConversionError(
            where,
            f"to relax it, bias_sharing={target.bias_sharing!r} must refine that of its bias",
            f"{source.bias_sharing!r} on an output of {times(target.output_size)}",
            "leave bias_sharing out, or use restrict",
        )


def _low_rank(source: Any, sharing: LowRank, size: Sequence[int]) -> dict[str, Tensor]:
    """Weight and coefficients: as they are with corrections of zero added, else as an exact fit."""
    one_bank = source.sharing.banks(size) == 1
    if not one_bank and (source.sharing.one_hot or source.sharing.rank > sharing.rank):
        return low_rank.fit(kernels_at(source, size), sharing, size)
    banks = source.kernels()
    if one_bank:
        terms = {name: banks.new_zeros(0, *n[1:]) for name, n in sharing.coefficient_shapes(size).items()}
    elif source.sharing.coefficients == sharing.coefficients:
        terms = {name: getattr(source, name) for name in sharing.coefficient_shapes(size)}
    else:
        terms = low_rank.terms(source.assignment()[:, 1:].double(), sharing, size)
    return low_rank.widened({"weight": banks, **terms}, sharing.rank)
