"""Compare a tensor of a shifted run with what the shift should make of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, prod

import torch
from torch import Tensor

from ...pattern.shifts import find_border
from ..outputs import to_real
from .layout import Layout, get_strides, reduce_to_positions

#: Smallest share of the positions of a border that differ.
_LEAST_SHARE = 0.25


@dataclass(frozen=True)
class Match:
    """How far a tensor is from what a shift of the input should make of it.

    Args:
        error: Norm of the difference relative to the norm of the tensor; None if the shift is not a whole
            number of its positions, or if its layout is unknown.
        is_exact: Whether rounding explains all differences; None if `error` is None.
        borders: For each axis that the tensor has, the widths (low, high) of the border to which differences
            are confined; None if they are not confined to one, or were not asked for.
        fractional: Relative difference from the band-limited shift, for a shift by a fraction of a position.
    """

    error: float | None = None
    is_exact: bool | None = None
    borders: tuple[tuple[int, int], ...] | None = None
    fractional: float | None = None


def _list_differences(layout: Layout, got: Tensor, expected: Tensor, shift: Sequence[int]) -> Tensor | None:
    """Return the largest difference at each position that did not wrap around; None without positions."""
    strides = sorted(get_strides(layout).items())
    difference = reduce_to_positions(layout, compare_elements(got, expected)[0])
    if not strides or difference.dim() != len(strides):
        return None
    steps = [round(shift[axis] / stride) for axis, stride in strides]
    part = (slice(max(0, s), max(0, n + min(0, s))) for s, n in zip(steps, difference.shape))
    return difference[tuple(part)]


def measure_borders(
    layout: Layout, got: Tensor, expected: Tensor, shift: Sequence[int], limit: float
) -> tuple[tuple[int, int], ...] | None:
    """Return the border to which differences are confined; None if there is no exact interior."""
    difference = _list_differences(layout, got, expected, shift)
    if difference is None:
        return None
    exact = (difference <= limit).cpu().numpy()
    widths = find_border(exact)
    if widths is None:
        return None
    inside = prod(n - low - high for (low, high), n in zip(widths, exact.shape))
    is_border = (~exact).sum() >= _LEAST_SHARE * (exact.size - inside)  # and not some scattered positions
    return widths if is_border and inside > 0 else None


def match_overlap(layout: Layout, got: Tensor, expected: Tensor, shift: Sequence[int], limit: float) -> Match:
    """Compare the positions of two crops that both contain."""
    difference = _list_differences(layout, got, expected, shift)
    if difference is None:  # it has no positions
        return Match(compute_error(got, expected), bool(compare_elements(got, expected)[0].max() <= limit))
    if not difference.numel():
        return Match()
    largest = expected.abs().max().item() if expected.numel() else 0.0
    worst = difference.max().item()
    borders = () if worst <= limit else measure_borders(layout, got, expected, shift, limit)
    error = worst / largest if largest else (float("inf") if worst else 0.0)
    return Match(error, worst <= limit, borders)


def compute_error(got: Tensor, expected: Tensor) -> float:
    """Return the norm of the difference relative to the norm of `expected`, ignoring equal infinities."""
    got, expected = to_real(got), to_real(expected)
    difference, length = _compute_norm(got - expected), _compute_norm(expected)
    if not (isfinite(difference) and isfinite(length)):
        difference = _compute_norm(torch.where(got == expected, 0, got - expected))
        length = _compute_norm(expected.masked_fill(expected.isinf(), 0))
        difference = difference if isfinite(difference) else float("inf")
    return difference / length if length else (float("inf") if difference else 0.0)


def compare_elements(got: Tensor, expected: Tensor) -> tuple[Tensor, float]:
    """Return the absolute difference of each element, and the largest finite element of `expected`."""
    if not got.is_complex():
        got, expected = to_real(got), to_real(expected)
    difference = (got - expected).abs()
    if not bool(difference.isfinite().all()):  # equal infinities, and NaN in both, count as equal
        is_same = (got == expected) | (got.isnan() & expected.isnan())
        difference = difference.nan_to_num(nan=float("inf")).masked_fill(is_same, 0)
    largest = expected.abs().nan_to_num(nan=0.0, posinf=0.0).max().item()
    return difference, largest


def _compute_norm(tensor: Tensor) -> float:
    return torch.linalg.vector_norm(tensor, dtype=torch.float64).item()
