"""Read the kernels and biases of a layer by position, and convert them to banks."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..backends import layout_of
from ..nn.base import SharedLayer
from ..pattern.taps import inputs_under_taps
from ..sharing import Full, Sharing


def find_inputs(layer: SharedLayer) -> Tensor:
    """Return the input under each tap of each position [P, taps], on the CPU; -1 for zero padding.

    For a transposed layer, it is the output to which the tap adds; -1 if the padding cuts it off.
    """
    positions: Any = layer.position_size
    window_side: Any = layer.output_size if layer.transposed else layer.input_size
    return torch.from_numpy(inputs_under_taps(layer.window, positions, window_side, layer.padding_mode))


def list_banks(sharing: Sharing, size: Sequence[int] | None) -> list[int]:
    """Return the bank of each position; [0] if the size is None, because then all positions share one."""
    return [0] if size is None else sharing.labels(size)


def list_first_positions(sharing: Sharing, size: Sequence[int] | None) -> list[int]:
    """Return the first position of each bank."""
    first: dict[int, int] = {}
    for position, bank in enumerate(list_banks(sharing, size)):
        first.setdefault(bank, position)
    return [first[bank] for bank in range(len(first))]


def gather_kernels(
    layer: SharedLayer, size: Sequence[int] | None, positions: Sequence[int] | None = None
) -> Tensor:
    """Return the kernel W[p] of some or all positions [positions, out, in/groups, *kernel_size].

    For `LowRank` they are computed in float64.
    """
    if layer.sharing.one_hot:
        banks = list_banks(layer.sharing, size)
        banks = banks if positions is None else [banks[p] for p in positions]
        return layer.kernels()[torch.tensor(banks, device=layer.weight.device)]
    assignment = layer.assignment() if positions is None else layer.assignment()[positions]
    return torch.tensordot(assignment.double(), layer.kernels().double(), 1)


def gather_biases(layer: SharedLayer, size: Sequence[int] | None) -> Tensor:
    """Return the bias of each output position [positions, out]; the layer must have one."""
    assert layer.bias is not None
    banks = torch.tensor(list_banks(layer.bias_sharing, size), device=layer.bias.device)
    return layer.bias.reshape(-1, layer.out_channels)[banks]


def to_weight(banks: Tensor, sharing: Sharing) -> Tensor:
    """Return banks of kernels in the layout of a layer's `weight`."""
    return layout_of(sharing).from_banks(banks)


def to_bias(banks: Tensor, sharing: Sharing) -> Tensor:
    """Return biases [K, out] in the layout of a layer's `bias`."""
    return banks[0] if sharing == Full() else banks


def average_by_bank(values: Tensor, touches: Tensor, labels: Sequence[int], banks: int) -> Tensor:
    """Return the mean of each bank over its positions, leaving out taps that do not touch the input.

    A tap that touches the input at none of the positions is averaged over all of them.

    Args:
        values: Values at each position [P, ., ., taps].
        touches: Whether each tap of each position touches the input [P, taps].
        labels: Bank of each position.
        banks: Number of banks.

    Shape:
        result [banks, ., ., taps].
    """
    bank = torch.tensor(labels, device=values.device)
    zeros = values.new_zeros(banks, touches.shape[1])
    bank_touches = zeros.index_add(0, bank, touches.to(values)) > 0
    is_counted = touches | ~bank_touches[bank]
    counts = zeros.index_add(0, bank, is_counted.to(values))
    sums = values.new_zeros(banks, *values.shape[1:])
    sums.index_add_(0, bank, torch.where(is_counted[:, None, None], values, 0.0))
    return sums / counts[:, None, None]
