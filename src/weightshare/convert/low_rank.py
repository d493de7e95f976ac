"""Fit the nearest low-rank layer: one shared kernel, and a truncated SVD of the deviations from it."""

from collections.abc import Sequence
from math import prod, sqrt
from typing import NamedTuple

import torch
from torch import Tensor

from ..nn import init
from ..sharing import LowRank
from .kernels import average_by_bank

_MAX_ITERATIONS = 200  # maximum number of times that free entries are filled in
_MIN_CHANGE = 1e-10  # relative change of the kernels at which the iteration stops
_ROUNDING = 1e-14  # corrections smaller than this, relative to the kernels, are rounding errors


class _Fit(NamedTuple):
    """A low-rank approximation mean + coefficients @ corrections of the rows of a matrix [P, F]."""

    mean: Tensor
    coefficients: Tensor
    corrections: Tensor

    def reconstruct(self) -> Tensor:
        return self.mean + self.coefficients @ self.corrections


def fit(
    kernels: Tensor,
    sharing: LowRank,
    size: Sequence[int],
    touches: Tensor | None = None,
    rounding: float = 0.0,
) -> dict[str, Tensor]:
    """Return weight and coefficients, in float64, of the low-rank layer nearest to the given kernels.

    Entries of taps that touch no input are free: they do not affect the error. If the kernels, free entries
    included, already have the rank, the fit reproduces them. Otherwise free entries start at the mean, and
    are replaced by those of the nearest fit until they no longer change.

    Args:
        kernels: Kernel of each position [P, out, in/groups, *kernel_size]; with `touches`, the taps are
            flattened to one axis.
        sharing: Sharing of the new layer.
        size: Grid of positions.
        touches: Whether each tap of each position touches the input [P, taps]; None if all do.
        rounding: Relative difference at which the kernels count as low-rank.

    Source: the iteration follows Kiers, "Weighted least squares fitting using ordinary least squares
    algorithms", Psychometrika 1997; without free entries it is one step, the theorem of Eckart and Young.
    """
    matrix = kernels.double().flatten(1)
    basis = _make_additive_basis(size, matrix) if sharing.coefficients == "factorized" else None
    nearest = _truncate(matrix, basis, sharing.rank)
    if touches is not None and not touches.all() and not _is_exact(nearest, matrix, rounding):
        free = ~touches[:, None].expand(-1, kernels.shape[1] * kernels.shape[2], -1).flatten(1)
        mean = average_by_bank(kernels.double(), touches, [0] * len(kernels), 1).flatten(1)
        matrix = _fill_in(torch.where(free, mean, matrix), free, basis, sharing.rank)
        nearest = _truncate(matrix, basis, sharing.rank)
    banks = torch.cat([nearest.mean[None], nearest.corrections]).unflatten(1, kernels.shape[1:])
    return pad_to_rank(
        {"weight": banks, **split_coefficients(nearest.coefficients, sharing, size)}, sharing.rank
    )


def _truncate(matrix: Tensor, basis: Tensor | None, rank: int) -> _Fit:
    """Return the nearest fit with at most `rank` corrections, whose coefficients have variance 1."""
    mean = matrix.mean(0)
    deviations = matrix - mean
    if basis is not None:
        deviations = basis.T @ deviations
    left, values, right = torch.linalg.svd(deviations, full_matrices=False)
    count = min(rank, int((values > _ROUNDING * matrix.norm()).sum()))
    left = left[:, :count] if basis is None else basis @ left[:, :count]
    scale = sqrt(len(matrix))
    return _Fit(mean, left * scale, values[:count, None] * right[:count] / scale)


def _is_exact(nearest: _Fit, matrix: Tensor, rounding: float) -> bool:
    difference = (matrix - nearest.reconstruct()).norm()
    return bool(difference <= max(rounding, _ROUNDING) * matrix.norm())


def _fill_in(matrix: Tensor, free: Tensor, basis: Tensor | None, rank: int) -> Tensor:
    """Return the matrix with its free entries replaced by those of the nearest fit of the given rank.

    After the first SVD, each iteration does one step of subspace iteration, which is cheaper than an SVD and
    improves the fit as well.
    """
    nearest = _truncate(matrix, basis, rank)
    for _ in range(_MAX_ITERATIONS):
        last, matrix = matrix, torch.where(free, nearest.reconstruct(), matrix)
        if (matrix - last).norm() <= _MIN_CHANGE * matrix.norm():
            break
        mean = matrix.mean(0)
        deviations = matrix - mean
        coefficients = deviations @ nearest.corrections.T
        if basis is not None:
            coefficients = basis @ (basis.T @ coefficients)
        coefficients = torch.linalg.qr(coefficients).Q
        nearest = _Fit(mean, coefficients, coefficients.T @ deviations)
    return matrix


def _make_additive_basis(size: Sequence[int], like: Tensor) -> Tensor:
    """Return an orthonormal basis [P, sum of n - 1] of the sums of one zero-mean function per axis."""
    columns = [like.new_zeros(prod(size), 0)]
    for axis, n in enumerate(size):
        centered = torch.eye(n, dtype=like.dtype, device=like.device)[:, : n - 1] - 1 / n
        one = torch.linalg.qr(centered).Q
        shape = (*(1,) * axis, n, *(1,) * (len(size) - axis - 1), n - 1)
        columns.append(one.view(shape).expand(*size, n - 1).flatten(0, -2) / sqrt(prod(size) / n))
    return torch.cat(columns, 1)


def split_coefficients(coefficients: Tensor, sharing: LowRank, size: Sequence[int]) -> dict[str, Tensor]:
    """Return coefficients at each position [P, k] as the parameters of a layer.

    "factorized" coefficients must be a sum of one function per axis. The function of an axis is the mean over
    the other axes, minus (d - 1) / d of the total mean for d axes.
    """
    field = coefficients.T.unflatten(1, tuple(size))
    if sharing.coefficients == "free":
        return {"coefficients": field}
    axes = range(1, field.dim())
    surplus = field.flatten(1).mean(1, keepdim=True) * (len(size) - 1) / len(size)
    result: dict[str, Tensor] = {}
    for axis, name in zip(axes, sharing.coefficient_shapes(size)):
        others = [other for other in axes if other != axis]
        result[name] = (field.mean(others) if others else field) - surplus
    return result


def pad_to_rank(values: dict[str, Tensor], rank: int) -> dict[str, Tensor]:
    """Return weight and coefficients with zero corrections appended up to the rank.

    The new coefficients are initialized like those of a new layer, so that the new corrections get gradients.
    """
    missing = rank + 1 - len(values["weight"])
    new = {name: value.new_zeros(missing, *value.shape[1:]) for name, value in values.items()}
    init.reset_coefficients([value for name, value in new.items() if name != "weight"])
    return {name: torch.cat([value, new[name]]) for name, value in values.items()}
