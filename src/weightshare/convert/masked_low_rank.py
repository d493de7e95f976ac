"""Fit a low-rank matrix to the entries of kernels that touch the input, without filling in the others.

For given coefficients C, the nearest mean and corrections of each tap are a least-squares problem over the
positions where the tap touches the input. What remains is a smooth function of C alone, whose value and
gradient need only one small matrix per set of positions. A quasi-Newton method minimizes it.

Source: Golub and Pereyra, "The differentiation of pseudo-inverses and nonlinear least squares problems whose
variables separate", SIAM J. Numer. Anal. 1973; for missing entries, Okatani and Deguchi, "On the Wiberg
algorithm for matrix factorization in the presence of missing components", IJCV 2007.
"""

from math import sqrt
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

_MAX_ITERATIONS = 500
_MAX_RESTARTS = 10
_MIN_DECREASE = 1e-13  # decrease of the squared relative error at which the iteration stops
_MIN_GAIN = 1e-6  # the fit stops when a restart decreases the squared error by less than this fraction
_RIDGE = 1e-12  # keeps normal matrices regular; the columns have norms of at most about 1
_SINGULAR = 1e-12  # eigenvalues smaller than this, relative to the largest one, count as zero
_NEGLIGIBLE = 1e-15  # squared singular values smaller than this, relative to their sum, count as zero


class LowRankFit(NamedTuple):
    """A low-rank approximation mean + coefficients @ corrections: [F], [P, k] and [k, F]."""

    mean: Tensor
    coefficients: Tensor
    corrections: Tensor

    def reconstruct(self) -> Tensor:
        """Return the approximation [P, F]."""
        return self.mean + self.coefficients @ self.corrections


class _Groups(NamedTuple):
    """Sets of taps that touch the input at the same positions. Rows are those of the basis.

    These are numpy arrays, because torch would use all threads for each of many small products.

    Args:
        masks: The positions of each group: [groups, rows, rows], or [groups, rows, 1] for diagonal matrices.
        values: Kernels of each group [rows, weights], zero where a tap does not touch the input.
        grams: values @ values.T of each group [groups, rows, rows], if they are smaller than the values.
        total: Sum of the squared values.
    """

    masks: np.ndarray
    values: list[np.ndarray]
    grams: np.ndarray | None
    total: float

    def multiply(self, columns: np.ndarray) -> np.ndarray:
        """Return values @ values.T @ columns of each group [groups, rows, k]."""
        if self.grams is None:
            return np.stack([values @ (values.T @ columns) for values in self.values])
        return (self.grams.reshape(-1, len(columns)) @ columns).reshape(len(self.grams), *columns.shape)

    def select(self, columns: np.ndarray) -> np.ndarray:
        """Return columns [rows, k] with zeros at the other positions, for each group [groups, rows, k]."""
        if self.masks.shape[2] == 1:
            return self.masks * columns
        return (self.masks.reshape(-1, len(columns)) @ columns).reshape(len(self.masks), *columns.shape)


def fit_masked(kernels: Tensor, touches: Tensor, basis: Tensor | None, rank: int) -> LowRankFit:
    """Return the nearest approximation with at most `rank` corrections, over the taps that touch the input.

    Coefficients have mean 0 and variance 1, and corrections are orthogonal. A tap that touches the input at
    no position gets its mean and no corrections.

    Args:
        kernels: Kernel of each position [P, out, in/groups, taps], in float64.
        touches: Whether each tap of each position touches the input [P, taps].
        basis: Orthonormal basis [P, .] of the allowed coefficients of mean 0; None for all coefficients.
        rank: Largest number of corrections.
    """
    if not touches.any():
        return _solve(kernels, touches, kernels.new_zeros(len(kernels), 0))
    one = kernels.new_full((len(kernels), 1), 1 / sqrt(len(kernels)))
    axes = None if basis is None else torch.cat([one, basis], 1)
    groups = _make_groups(kernels, touches, axes)
    constant = one if axes is None else axes.T @ one
    theta = torch.from_numpy(_minimize(groups, constant.cpu().numpy(), rank)).to(kernels)
    return _solve(kernels, touches, theta if axes is None else axes @ theta)


def _list_taps(touches: Tensor) -> list[Tensor]:
    """Return the taps that touch the input at the same positions; taps that never do are left out."""
    patterns, group_of = torch.unique(touches.T, dim=0, return_inverse=True)
    return [(group_of == i).nonzero().flatten() for i in range(len(patterns)) if patterns[i].any()]


def _make_groups(kernels: Tensor, touches: Tensor, axes: Tensor | None) -> _Groups:
    taps_of = _list_taps(touches)
    lives = [touches[:, taps[0], None].to(kernels) for taps in taps_of]
    values = [live * kernels[..., taps].flatten(1) for taps, live in zip(taps_of, lives)]
    total, masks = sum(float(v.square().sum()) for v in values), lives
    if axes is not None:
        values, masks = [axes.T @ v for v in values], [axes.T @ (live * axes) for live in lives]
    is_small = sum(v.shape[1] for v in values) <= len(values) * len(masks[0])
    grams = None if is_small else np.stack([(v @ v.T).cpu().numpy() for v in values])
    arrays = [v.cpu().numpy() for v in values] if is_small else []
    return _Groups(np.stack([mask.cpu().numpy() for mask in masks]), arrays, grams, total)


def _minimize(groups: _Groups, constant: np.ndarray, rank: int) -> np.ndarray:
    """Return the coefficients in the basis [rows, k], k <= rank, of the nearest fit.

    The size of a coefficient does not change the fit, but it changes the steps of the method. It is therefore
    restarted with coefficients as large as their corrections.
    """
    start = coefficients = _find_start(groups, constant, rank)
    if start.size == 0:
        return start
    shape, last = start.shape, float("inf")

    def compute(x: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the squared relative error and its gradient."""
        columns = np.concatenate([constant, x.reshape(shape)], 1)
        product, selected, inverse, solved = _eliminate(groups, columns)
        error = 1 - float(np.trace(solved, axis1=1, axis2=2).sum()) / groups.total
        gradient = ((selected @ solved - product) @ inverse).sum(0)
        return error, (2 / groups.total) * gradient[:, 1:].ravel()

    options = {"maxiter": _MAX_ITERATIONS, "ftol": _MIN_DECREASE, "gtol": 0.0}
    for _ in range(_MAX_RESTARTS):
        best = minimize(compute, start.ravel(), jac=True, method="L-BFGS-B", options=options)
        if best.fun < last:
            coefficients = best.x.reshape(shape)
        if last - best.fun <= _MIN_GAIN * best.fun or best.fun <= 10 * _RIDGE:
            break
        last, start = float(best.fun), _rescale(groups, constant, coefficients)
    return coefficients


def _eliminate(groups: _Groups, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return what the best banks of each group of taps depend on, for given columns.

    Returns:
        values @ values.T @ columns, and the columns at the positions of the group, [groups, rows, k];
        the inverse of their normal matrix, and this inverse times columns.T @ values @ values.T @ columns,
        [groups, k, k].
    """
    selected, product = groups.select(columns), groups.multiply(columns)
    ridge = _RIDGE * max(1.0, np.square(columns).sum(0).max())  # a line search may try large columns
    inverse = np.linalg.inv(columns.T @ selected + ridge * np.eye(columns.shape[1]))
    return product, selected, inverse, inverse @ (columns.T @ product)


def _rescale(groups: _Groups, constant: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """Return coefficients of the same fit that are orthogonal, have mean 0, and are as large as their
    corrections.
    """
    centered = coefficients - constant @ (constant.T @ coefficients)
    left = np.linalg.qr(centered)[0]
    _, _, inverse, solved = _eliminate(groups, np.concatenate([constant, left], 1))
    gram = (solved @ inverse).sum(0)[1:, 1:]  # products of the corrections
    values, vectors = np.linalg.eigh(gram)
    return left @ (vectors * np.sqrt(values.clip(min=0) / groups.total))


def _find_start(groups: _Groups, constant: np.ndarray, rank: int) -> np.ndarray:
    """Return the coefficients of the nearest fit to the kernels in which missing entries are means."""
    live, sums = groups.select(constant), groups.multiply(constant)
    live = live / (constant.T @ live)  # divided by the number of positions
    cross = np.tensordot(sums, live, ((0, 2), (0, 2)))
    means = np.tensordot(live * (constant.T @ sums), live, ((0, 2), (0, 2)))
    grams = [v @ v.T for v in groups.values] if groups.grams is None else groups.grams
    gram = sum(grams) - cross - cross.T + means
    values, vectors = np.linalg.eigh(gram)
    count = min(rank, int((values > _NEGLIGIBLE * groups.total).sum()))
    kept = slice(len(values) - count, len(values))
    return vectors[:, kept] * np.sqrt(values[kept] / groups.total)


def _solve(kernels: Tensor, touches: Tensor, coefficients: Tensor) -> LowRankFit:
    """Return the nearest fit with given coefficients [P, k], which need not be centered or independent."""
    positions = len(kernels)
    scale = sqrt(positions)
    left, values, _ = torch.linalg.svd(coefficients - coefficients.mean(0), full_matrices=False)
    left = left[:, values > sqrt(_NEGLIGIBLE) * values.norm()] * scale
    columns = torch.cat([left.new_ones(positions, 1), left], 1)
    banks = kernels.new_zeros(columns.shape[1], *kernels.shape[1:])
    banks[0] = kernels.mean(0)  # for taps that never touch the input
    for taps in _list_taps(touches):
        selected = columns * touches[:, taps[0], None]
        inverse = torch.linalg.pinv(columns.T @ selected, rtol=_SINGULAR, hermitian=True)
        banks[..., taps] = torch.tensordot(inverse @ selected.T, kernels[..., taps], 1)
    banks = banks.flatten(1)
    rotation, values, right = torch.linalg.svd(banks[1:], full_matrices=False)
    return LowRankFit(banks[0], left @ rotation, values[:, None] * right)
