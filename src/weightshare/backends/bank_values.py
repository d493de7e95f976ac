"""Giving each position the values of its bank, as for a shared bias."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..sharing import Separable, Sharing
from .exportable import is_wanted


@dataclass(frozen=True)
class BankValues:
    """The bank of each position of a one-hot sharing, computed once.

    Args:
        labels: The bank of each position; None if each position has its own.
        by_axis: If the sharing is separable, per axis the number of banks and the bank of each index (None if
            there is one bank, or one per index). An exported program stores fewer constants this way.
    """

    output_size: tuple[int, ...]
    labels: Tensor | None
    by_axis: tuple[tuple[int, Tensor | None], ...] | None

    @classmethod
    def of(cls, sharing: Sharing, output_size: Sequence[int]) -> "BankValues":
        """Return the table for a sharing over an output."""
        size, by_axis, own = tuple(output_size), None, False
        if isinstance(sharing, Separable):
            by_axis = tuple(_axis_labels(parts, n) for parts, n in zip(sharing.parts(size), size))
            own = tuple(banks for banks, _ in by_axis) == size
        labels = None if own else torch.tensor(sharing.labels(size), device="cpu")
        return cls(size, labels, by_axis)

    def expand(self, values: Tensor) -> Tensor:
        """[K, out], one row per bank -> a tensor that broadcasts to [out, *output_size]."""
        if self.by_axis is not None and is_wanted():
            return self._expand_by_axis(values)
        banks = values.T.contiguous()  # adding rows of positions is faster
        if self.labels is not None:
            banks = banks.index_select(1, self.labels.to(values.device))
        return banks.unflatten(1, self.output_size)

    def _expand_by_axis(self, values: Tensor) -> Tensor:
        assert self.by_axis is not None
        result = values.T.unflatten(1, [banks for banks, _ in self.by_axis])
        for axis, (_, labels) in enumerate(self.by_axis, 1):
            if labels is not None:
                result = result.index_select(axis, labels.to(values.device))
        return result


def _axis_labels(parts: Sequence[Sequence[int]], n: int) -> tuple[int, Tensor | None]:
    """Return how many parts an axis has, and the part of each index."""
    part_of = {i: number for number, part in enumerate(parts) for i in part}
    labels = torch.tensor([part_of[i] for i in range(n)], device="cpu")
    return len(parts), None if len(parts) in (1, n) else labels
