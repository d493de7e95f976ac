"""Where kernels want to differ: map, spectrum, coefficients and regions, from the gradients of two halves.

The deviation of a gradient at one position from the mean over positions is noise, plus what another kernel
would improve there. Noise is independent in the two halves of the examples. So products of the deviations in
one half with those in the other half are zero on average where nothing is to be gained.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..convert.low_rank import make_additive_basis, split_coefficients
from ..sharing import Local, LowRank, Mapped, Regional, SharedAlong, Sharing
from .gradients import Gradients

#: Largest number of values of the spectrum.
VALUES = 8
#: Largest number of regions of `Mapped`: as many as `Regional(2)` has on a plane.
CLUSTERS = 4


@dataclass(frozen=True)
class Deviations:
    """What the gradients of a layer show.

    Args:
        map: Agreement of the halves at each position [*size], in units of the gradient's variance.
        spectrum: Singular values of the deviations, each measured in one half along the singular vectors of
            the other half. Noise gives values around zero.
        left: Left singular vectors of the deviations [P, R], with variance 1, from which `get_coefficients`
            takes the coefficients of `LowRank`.
        clusters: Regions of positions that want similar changes: from the first half, from the second one,
            and from both.
        shares: For other sharings, which part of the changes on which both halves agree they can express. It
            is empty if the halves do not agree.
    """

    map: Tensor
    spectrum: tuple[float, ...]
    left: Tensor
    clusters: tuple[Mapped, Mapped, Mapped]
    shares: dict[Sharing, float]

    def get_coefficients(self, sharing: LowRank) -> dict[str, Tensor]:
        """Return the values of the coefficients of a layer, by the name of the parameter."""
        return split_coefficients(self.left[:, : sharing.rank], sharing, self.map.shape)


def find_deviations(halves: Sequence[Gradients], size: Sequence[int], rank: int) -> Deviations:
    """Return what two halves of the examples show about a layer.

    Args:
        halves: Gradients of both halves, whose sums are overwritten.
        size: Number of positions per axis.
        rank: Largest rank for which coefficients are found.
    """
    first, second = halves
    count = first.count + second.count
    by_weight = (first.by_weight + second.by_weight) / count / len(first.total)
    by_position = (first.by_position + second.by_position) / count / len(by_weight)
    scale = _invert(by_weight).sqrt()
    # taps on padding have no gradient anywhere, so they want nothing
    is_used = (first.total != 0) | (second.total != 0)
    z0, z1 = (_center(half.total.div_(half.count), is_used).mul_(scale) for half in halves)
    # the variance of a gradient is about the product of one factor per position and one per weight
    agreement = torch.linalg.vecdot(z0, z1) * _invert(by_position) * by_position.mean()
    spectrum = (_cross(z0, z1) + _cross(z1, z0)) / 2
    basis = make_additive_basis(size, z0)
    additive = basis.T @ z0 + basis.T @ z1
    left = torch.svd_lowrank(additive, q=min(rank + VALUES, *additive.shape), niter=4)[0]
    left = basis @ left[:, :rank] * len(z0) ** 0.5  # variance 1, as in a new layer
    clusters = (find_clusters(z0, size), find_clusters(z1, size), find_clusters(z0 + z1, size))
    return Deviations(
        agreement.unflatten(0, tuple(size)),
        tuple(spectrum.tolist()),
        left,
        clusters,
        _find_shares(z0, z1, is_used, size, clusters),
    )


def find_clusters(z: Tensor, size: Sequence[int]) -> Mapped:
    """Return at most four regions of positions with similar deviations [P, D] (k-means).

    Deviations are compared in the space of their largest singular values, because the rest is noise.
    """
    from sklearn.cluster import KMeans

    left, values, _ = torch.svd_lowrank(z, q=min(CLUSTERS - 1, *z.shape), niter=4)
    points = (left * values).double().cpu().numpy()
    count = min(CLUSTERS, len(np.unique(points, axis=0)))
    cluster = KMeans(n_clusters=count, n_init=4, random_state=0)  # pyright: ignore[reportArgumentType]
    labels: Any = cluster.fit_predict(points)
    numbers = np.unique(labels, return_inverse=True)[1]
    return Mapped(numbers.reshape(tuple(size)))


def list_sharings(size: Sequence[int]) -> list[Sharing]:
    """Return sharings with one kernel per region or along some axes, from the fewest to the most banks.

    >>> [str(sharing) for sharing in list_sharings((4, 6))]
    ['regional:2', 'along:1', 'along:0', 'local']
    """
    axes = [axis for axis, n in enumerate(size) if n > 1]
    found: list[Sharing] = [Regional(2)] if min(size) > 1 else []
    found += [SharedAlong(c) for count in range(1, len(axes)) for c in combinations(axes, count)]
    return sorted([*found, Local()], key=lambda sharing: sharing.banks(size))


def _find_shares(
    z0: Tensor, z1: Tensor, is_used: Tensor, size: Sequence[int], clusters: Sequence[Mapped]
) -> dict[Sharing, float]:
    """Return how much of the products of both halves remains if a half is averaged over each bank."""
    total = float(torch.linalg.vecdot(z0, z1).sum())
    if total <= 0:
        return {}

    def measure(one: Tensor, sharing: Sharing, other: Tensor) -> float:
        labels = torch.tensor(sharing.labels(size), device=one.device)
        zeros = one.new_zeros(sharing.banks(size), one.shape[1])
        sums, others, counts = (
            zeros.index_add(0, labels, values.to(one)) for values in (one, other, is_used)
        )
        return float((sums * others / counts.clamp(min=1)).sum()) / total

    shares = {sharing: measure(z0, sharing, z1) for sharing in list_sharings(size) if sharing != Local()}
    # regions from one half must not be judged by the same half
    first, second, both = clusters
    shares[both] = (measure(z0, first, z1) + measure(z1, second, z0)) / 2
    return shares | {Local(): 1.0}


def _center(mean: Tensor, is_used: Tensor) -> Tensor:
    """Replace gradients [P, D] by their deviations from the mean over those positions that use a weight."""
    return mean.sub_(mean.sum(0) / is_used.sum(0).clamp(min=1)).mul_(is_used)


def _cross(one: Tensor, other: Tensor) -> Tensor:
    """Return the products of `other` with the pairs of singular vectors of `one`."""
    left, _, right = torch.svd_lowrank(one, q=min(2 * VALUES, *one.shape), niter=4)
    return torch.einsum("pk,pd,dk->k", left, other, right)[:VALUES]


def _invert(values: Tensor) -> Tensor:
    """Return 1 / values, bounded where values are near zero, as for weights that only meet padding."""
    return 1 / (values + 0.01 * values.mean() + torch.finfo(values.dtype).tiny)
