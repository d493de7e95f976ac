"""Means over positions, of those where a tap touches the input."""

from collections.abc import Sequence

import torch
from torch import Tensor


def bank_means(values: Tensor, touch: Tensor, labels: Sequence[int], banks: int) -> Tensor:
    """Every bank's mean over its positions that touch, or over all of them where none does.

    Args:
        values: [P, ., ., taps].
        touch: [P, taps].
        labels: The bank of every position.

    Shape:
        [banks, ., ., taps].
    """
    bank = torch.tensor(labels, device=values.device)
    zeros = values.new_zeros(banks, touch.shape[1])
    touched = zeros.index_add(0, bank, touch.to(values)) > 0
    counted = touch | ~touched[bank]
    counts = zeros.index_add(0, bank, counted.to(values))
    sums = values.new_zeros(banks, *values.shape[1:])
    sums.index_add_(0, bank, torch.where(counted[:, None, None], values, 0.0))
    return sums / counts[:, None, None]
