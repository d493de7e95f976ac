"""The nearest low-rank layer: one shared kernel, and a truncated SVD of what the kernels deviate from it."""

from collections.abc import Sequence
from math import prod, sqrt

import torch
from torch import Tensor

from ..nn import init
from ..sharing import LowRank
from .means import bank_means

#: Most times that free entries are filled in anew, and the relative change at which this stops.
MOST_ROUNDS, LEAST_CHANGE = 200, 1e-10
#: Corrections smaller than this part of the kernels are rounding, and left out.
ROUNDING = 1e-14


def fit(
    kernels: Tensor,
    sharing: LowRank,
    size: Sequence[int],
    touch: Tensor | None = None,
    rounding: float = 0.0,
) -> dict[str, Tensor]:
    """Weight and coefficients, in float64, of the low-rank layer nearest to kernels given by position.

    Entries whose tap touches nothing are free. They are taken as given where the kernels are of low rank with
    them, which so come back as they are; else they start at the mean and are filled in from the nearest fit
    until it stops changing.

    Args:
        kernels: [P, out, in/groups, *kernel_size]; flat in the taps where `touch` is given.
        touch: Which taps touch the input [P, taps]; None for all.
        rounding: Relative difference at which kernels count as of low rank.

    Source: the iteration is that of Kiers, "Weighted least squares fitting using ordinary least squares
    algorithms", Psychometrika 1997; without free entries it is one step, the theorem of Eckart and Young.
    """
    matrix = kernels.double().flatten(1)
    basis = _additive(size, matrix) if sharing.coefficients == "factorized" else None
    parts = _truncated(matrix, basis, sharing.rank)
    if touch is not None and not touch.all() and not _agrees(parts, matrix, rounding):
        free = ~touch[:, None].expand(-1, kernels.shape[1] * kernels.shape[2], -1).flatten(1)
        mean = bank_means(kernels.double(), touch, [0] * len(kernels), 1).flatten(1)
        matrix = _filled(torch.where(free, mean, matrix), free, basis, sharing.rank)
        parts = _truncated(matrix, basis, sharing.rank)
    mean, field, corrections = parts
    banks = torch.cat([mean[None], corrections]).unflatten(1, kernels.shape[1:])
    return widened({"weight": banks, **terms(field, sharing, size)}, sharing.rank)


_Parts = tuple[Tensor, Tensor, Tensor]


def _truncated(matrix: Tensor, basis: Tensor | None, rank: int) -> _Parts:
    """Mean [F], coefficients [P, k] of variance 1 and corrections [k, F], k the rank or less."""
    mean = matrix.mean(0)
    deviations = matrix - mean
    if basis is not None:
        deviations = basis.T @ deviations
    left, values, right = torch.linalg.svd(deviations, full_matrices=False)
    keep = min(rank, int((values > ROUNDING * matrix.norm()).sum()))
    left = left[:, :keep] if basis is None else basis @ left[:, :keep]
    scale = sqrt(len(matrix))
    return mean, left * scale, values[:keep, None] * right[:keep] / scale


def _agrees(parts: _Parts, matrix: Tensor, rounding: float) -> bool:
    mean, field, corrections = parts
    return bool((matrix - mean - field @ corrections).norm() <= max(rounding, ROUNDING) * matrix.norm())


def _filled(matrix: Tensor, free: Tensor, basis: Tensor | None, rank: int) -> Tensor:
    """The matrix with its free entries as the nearest fit of the same rank has them.

    In between, a step of subspace iteration takes the place of an SVD: it brings the fit nearer as well.
    """
    mean, field, corrections = _truncated(matrix, basis, rank)
    for _ in range(MOST_ROUNDS):
        last, matrix = matrix, torch.where(free, mean + field @ corrections, matrix)
        if (matrix - last).norm() <= LEAST_CHANGE * matrix.norm():
            break
        mean = matrix.mean(0)
        deviations = matrix - mean
        field = deviations @ corrections.T
        field = torch.linalg.qr(field if basis is None else basis @ (basis.T @ field)).Q
        corrections = field.T @ deviations
    return matrix


def _additive(size: Sequence[int], like: Tensor) -> Tensor:
    """Orthonormal columns [P, sum of n - 1] that span the sums of one function an axis with mean zero."""
    columns = [like.new_zeros(prod(size), 0)]
    for axis, n in enumerate(size):
        centred = torch.eye(n, dtype=like.dtype, device=like.device)[:, : n - 1] - 1 / n
        one = torch.linalg.qr(centred).Q
        shape = (*(1,) * axis, n, *(1,) * (len(size) - axis - 1), n - 1)
        columns.append(one.view(shape).expand(*size, n - 1).flatten(0, -2) / sqrt(prod(size) / n))
    return torch.cat(columns, 1)


def terms(field: Tensor, sharing: LowRank, size: Sequence[int]) -> dict[str, Tensor]:
    """Coefficients given at every position [P, k] as a layer's parameters, which add up to them.

    Of "factorized" ones the field must be such a sum; each axis gets its means, and an equal part of the mean
    of all.
    """
    field = field.T.unflatten(1, tuple(size))
    if sharing.coefficients == "free":
        return {"coefficients": field}
    axes = range(1, field.dim())
    surplus = field.flatten(1).mean(1, keepdim=True) * (len(size) - 1) / len(size)
    result = {}
    for axis, name in zip(axes, sharing.coefficient_shapes(size)):
        others = [other for other in axes if other != axis]
        result[name] = (field.mean(others) if others else field) - surplus
    return result


def widened(values: dict[str, Tensor], rank: int) -> dict[str, Tensor]:
    """Corrections of zero added up to the rank, their coefficients drawn as from scratch."""
    missing = rank + 1 - len(values["weight"])
    fresh = {name: value.new_zeros(missing, *value.shape[1:]) for name, value in values.items()}
    init.reset_coefficients([value for name, value in fresh.items() if name != "weight"])
    return {name: torch.cat([value, fresh[name]]) for name, value in values.items()}
