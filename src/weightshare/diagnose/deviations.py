"""Where kernels want to differ: the map, the spectrum and the coefficients, from the gradients of two halves.

The deviation of a gradient at one position from the mean over positions is noise, plus what another kernel
would improve there. Noise is independent in the two halves of the examples. So products of the deviations in
one half with those in the other half are zero on average where nothing is to be gained.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from ..convert.low_rank import make_additive_basis, split_coefficients
from ..sharing import LowRank, Regional, SharedAlong, Sharing
from .gradients import Gradients

#: Largest number of values of the spectrum.
VALUES = 8


@dataclass(frozen=True)
class Deviations:
    """What the gradients of a layer show.

    Args:
        map: Agreement of the halves at each position [*size], in units of the gradient's variance.
        spectrum: Singular values of the deviations, each measured in one half along the singular vectors of
            the other half. Noise gives values around zero.
        coefficients: Values of the coefficients of `LowRank`, by the name of the parameter.
        shares: For other sharings, which part of the changes on which both halves agree they can express. It
            is empty if the halves do not agree.
    """

    map: Tensor
    spectrum: tuple[float, ...]
    coefficients: dict[str, Tensor]
    shares: dict[Sharing, float]


def find_deviations(halves: Sequence[Gradients], size: Sequence[int], sharing: LowRank) -> Deviations:
    """Return what two halves of the examples show about a layer.

    Args:
        halves: Gradients of both halves.
        size: Number of positions per axis.
        sharing: Sharing for which coefficients are found.
    """
    first, second = halves
    count = first.count + second.count
    by_weight = (first.by_weight + second.by_weight) / count / len(first.total)
    by_position = (first.by_position + second.by_position) / count / len(by_weight)
    scale = _invert(by_weight).sqrt()
    # taps on padding have no gradient anywhere, so they want nothing
    is_used = (first.total != 0) | (second.total != 0)
    z0, z1 = (_center(half.mean, is_used) * scale for half in halves)
    # the variance of a gradient is about the product of one factor per position and one per weight
    agreement = (z0 * z1).sum(1) * _invert(by_position) * by_position.mean()
    spectrum = (_cross(z0, z1) + _cross(z1, z0)) / 2
    basis = make_additive_basis(size, z0) if sharing.coefficients == "factorized" else None
    together = z0 + z1 if basis is None else basis.T @ (z0 + z1)
    left = torch.svd_lowrank(together, q=min(sharing.rank + VALUES, *together.shape), niter=4)[0]
    left = left[:, : sharing.rank]
    left = (left if basis is None else basis @ left) * len(z0) ** 0.5  # variance 1, as in a new layer
    return Deviations(
        agreement.unflatten(0, tuple(size)),
        tuple(spectrum.tolist()),
        split_coefficients(left, sharing, size),
        _find_shares(z0, z1, is_used, size),
    )


def list_alternatives(size: Sequence[int]) -> list[Sharing]:
    """Return sharings with one kernel per region or along some axes, from the fewest to the most banks.

    >>> [str(sharing) for sharing in list_alternatives((4, 6))]
    ['regional:2', 'along:1', 'along:0']
    """
    axes = [axis for axis, n in enumerate(size) if n > 1]
    found: list[Sharing] = [Regional(2)] if min(size) > 1 else []
    found += [SharedAlong(c) for count in range(1, len(axes)) for c in combinations(axes, count)]
    return sorted(found, key=lambda sharing: sharing.banks(size))


def _find_shares(z0: Tensor, z1: Tensor, is_used: Tensor, size: Sequence[int]) -> dict[Sharing, float]:
    total = float((z0 * z1).sum())
    if total <= 0:
        return {}
    return {
        sharing: float((_average(z0, is_used, sharing, size) * z1).sum()) / total
        for sharing in list_alternatives(size)
    }


def _average(z: Tensor, is_used: Tensor, sharing: Sharing, size: Sequence[int]) -> Tensor:
    """Return the mean of z [P, D] over the positions of each bank that use a weight, at each position."""
    labels = torch.tensor(sharing.labels(size), device=z.device)
    zeros = z.new_zeros(sharing.banks(size), z.shape[1])
    counts = zeros.index_add(0, labels, is_used.to(z)).clamp(min=1)
    return (zeros.index_add(0, labels, z) / counts)[labels]


def _center(mean: Tensor, is_used: Tensor) -> Tensor:
    """Return the deviations [P, D] from the mean over those positions that use a weight."""
    return (mean - mean.sum(0) / is_used.sum(0).clamp(min=1)) * is_used


def _cross(one: Tensor, other: Tensor) -> Tensor:
    """Return the products of `other` with the pairs of singular vectors of `one`."""
    left, _, right = torch.svd_lowrank(one, q=min(2 * VALUES, *one.shape), niter=4)
    return torch.einsum("pk,pd,dk->k", left, other, right)[:VALUES]


def _invert(values: Tensor) -> Tensor:
    """Return 1 / values, bounded where values are near zero, as for weights that only meet padding."""
    return 1 / (values + 0.01 * values.mean() + torch.finfo(values.dtype).tiny)
