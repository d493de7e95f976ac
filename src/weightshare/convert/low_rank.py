"""Fit the nearest low-rank layer: one shared kernel, and a truncated SVD of the deviations from it."""

from collections.abc import Sequence
from math import prod, sqrt

import torch
from torch import Tensor

from ..nn import init
from ..sharing import LowRank
from .masked_low_rank import LowRankFit, fit_masked

_OVERSAMPLING = 8  # columns of a random projection beyond the rank
_ROUNDING = 1e-14  # corrections smaller than this, relative to the kernels, are rounding errors


def fit(
    kernels: Tensor,
    sharing: LowRank,
    size: Sequence[int],
    touches: Tensor | None = None,
    rounding: float = 0.0,
) -> dict[str, Tensor]:
    """Return weight and coefficients, in float64, of the low-rank layer nearest to the given kernels.

    Entries of taps that touch no input are free: they do not affect the error. If the kernels, free entries
    included, already have the rank, the fit reproduces them. Otherwise free entries are left out of the fit.

    Args:
        kernels: Kernel of each position [P, out, in/groups, *kernel_size]; with `touches`, the taps are
            flattened to one axis.
        sharing: Sharing of the new layer.
        size: Grid of positions.
        touches: Whether each tap of each position touches the input [P, taps]; None if all do.
        rounding: Relative difference at which the kernels count as low-rank.

    Source: without free entries, the theorem of Eckart and Young; otherwise see `masked_low_rank`.
    """
    matrix = kernels.double().flatten(1)
    basis = make_additive_basis(size, matrix) if sharing.coefficients == "factorized" else None
    if touches is None or touches.all():
        nearest = _truncate(matrix, basis, sharing.rank)
    else:
        nearest = _find_exact(matrix, basis, sharing.rank, rounding)
        if nearest is None:
            nearest = fit_masked(kernels.double(), touches, basis, sharing.rank)
    banks = torch.cat([nearest.mean[None], nearest.corrections]).unflatten(1, kernels.shape[1:])
    return pad_to_rank(
        {"weight": banks, **split_coefficients(nearest.coefficients, sharing, size)}, sharing.rank
    )


def _truncate(matrix: Tensor, basis: Tensor | None, rank: int) -> LowRankFit:
    """Return the nearest fit with at most `rank` corrections, whose coefficients have variance 1."""
    mean = matrix.mean(0)
    deviations = matrix - mean
    if basis is not None:
        deviations = basis.T @ deviations
    left, values, right = torch.linalg.svd(deviations, full_matrices=False)
    count = min(rank, int((values > _ROUNDING * matrix.norm()).sum()))
    left = left[:, :count] if basis is None else basis @ left[:, :count]
    scale = sqrt(len(matrix))
    return LowRankFit(mean, left * scale, values[:count, None] * right[:count] / scale)


def _find_exact(matrix: Tensor, basis: Tensor | None, rank: int, rounding: float) -> LowRankFit | None:
    """Return the fit if the matrix already has the rank, up to a relative difference; else None.

    A projection onto the span of some random combinations of the columns, which is cheaper than an SVD, rules
    out most matrices.

    Source: Halko, Martinsson and Tropp, "Finding structure with randomness", SIAM Review 2011, algorithm 4.3.
    """
    tolerance = max(rounding, _ROUNDING) * float(matrix.norm())
    deviations = matrix - matrix.mean(0)
    generator = torch.Generator().manual_seed(0)
    mix = torch.randn(matrix.shape[1], rank + _OVERSAMPLING, generator=generator, dtype=matrix.dtype)
    span = torch.linalg.qr(deviations @ mix.to(matrix.device)).Q
    span = torch.linalg.qr(deviations @ (deviations.T @ span)).Q
    if float((deviations - span @ (span.T @ deviations)).norm()) > tolerance:
        return None
    nearest = _truncate(matrix, basis, rank)
    return nearest if float((matrix - nearest.reconstruct()).norm()) <= tolerance else None


def make_additive_basis(size: Sequence[int], like: Tensor) -> Tensor:
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
