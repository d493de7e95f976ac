"""Expand one value per bank to one value per position, for example a shared bias."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..sharing import Separable, Sharing
from .exportable import is_portable
from .layout import with_contiguous_grad


@dataclass(frozen=True)
class BankValues:
    """The bank of each position of a one-hot sharing, computed once.

    Args:
        output_size: Number of positions per axis.
        labels: Bank of each position in row-major order; None if each position has its own bank.
        by_axis: For a separable sharing, the number of banks per axis and the bank of each index along it
            (None if the axis has one bank, or one bank per index). For other sharings it is None. Exported
            programs use it to store fewer constants.
    """

    output_size: tuple[int, ...]
    labels: Tensor | None
    by_axis: tuple[tuple[int, Tensor | None], ...] | None

    @classmethod
    def of(cls, sharing: Sharing, output_size: Sequence[int]) -> "BankValues":
        """Return the table of a sharing over an output."""
        size, by_axis, is_local = tuple(output_size), None, False
        if isinstance(sharing, Separable):
            by_axis = tuple(_label_axis(parts, n) for parts, n in zip(sharing.parts(size), size))
            is_local = tuple(banks for banks, _ in by_axis) == size
        labels = None if is_local else torch.tensor(sharing.labels(size), device="cpu")
        return cls(size, labels, by_axis)

    def expand(self, values: Tensor) -> Tensor:
        """Expand [K, out], one row per bank, to a tensor that broadcasts to [out, *output_size]."""
        if self.by_axis is not None and is_portable():
            return self._expand_by_axis(values)
        # contiguous along the positions, which makes adding the result faster
        banks = with_contiguous_grad(values).T.contiguous()
        if self.labels is not None:
            banks = banks.index_select(1, self.labels.to(values.device))
        return banks.view(banks.shape[0], *self.output_size)

    def _expand_by_axis(self, values: Tensor) -> Tensor:
        assert self.by_axis is not None
        result = values.T.unflatten(1, [banks for banks, _ in self.by_axis])
        for axis, (_, labels) in enumerate(self.by_axis, 1):
            if labels is not None:
                result = result.index_select(axis, labels.to(values.device))
        return result


def _label_axis(parts: Sequence[Sequence[int]], n: int) -> tuple[int, Tensor | None]:
    """Return the number of parts of an axis of length n, and the part of each index."""
    part_of = {i: number for number, part in enumerate(parts) for i in part}
    labels = torch.tensor([part_of[i] for i in range(n)], device="cpu")
    return len(parts), None if len(parts) in (1, n) else labels
