"""Statistics of the gradients of each position's kernel, which rank the layers and draw the map."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from .candidates import RANK
from .networks import BATCH, Members, Tensors, batch, forward, loss_of, unfold

Moments = tuple[Tensor, Tensor]


def _deltas(
    tensors: Tensors, state: Tensors, images: Tensor, members: Members, index: Tensor, layer: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the gradients [B, N, O, P] of the layer's output and its patches [B, N, D, P], in batches."""
    k = tensors[f"{layer}.weight"].shape[-1]
    for part in index.split(BATCH, 1):
        x, labels, targets = batch(images, members, part)
        channels = tensors[f"{layer}.bias"].shape[1]
        probe = x.new_zeros(*x.shape[:2], channels, *x.shape[3:]).requires_grad_()
        inputs: list[Tensor] = []
        outputs = forward(tensors, state, x, members, probes={layer: probe}, inputs=inputs)
        (delta,) = torch.autograd.grad(loss_of(outputs, labels, targets, members).sum(), probe)
        yield delta.flatten(3), unfold(inputs[layer], k)


def position_gradients(
    tensors: Tensors, state: Tensors, images: Tensor, members: Members, index: Tensor, layer: int
) -> Moments:
    """Return mean and mean square [N, P, O, D] over examples of the gradient of each position's kernel."""
    mean = square = 0.0
    for delta, patches in _deltas(tensors, state, images, members, index, layer):
        delta, patches = delta.permute(1, 3, 2, 0), patches.permute(1, 3, 0, 2)
        mean = mean + delta @ patches / index.shape[1]
        square = square + delta.square() @ patches.square() / index.shape[1]
    return mean, square


def bank_gradients(
    tensors: Tensors, state: Tensors, images: Tensor, members: Members, index: Tensor, layer: int, a: Tensor
) -> Moments:
    """Return mean and mean square [N, R, O, D] of the gradients of banks with coefficients a [N, R, P]."""
    mean = square = 0.0
    for delta, patches in _deltas(tensors, state, images, members, index, layer):
        g = [(delta * a[:, r, None]) @ patches.transpose(2, 3) for r in range(a.shape[1])]
        mean = mean + torch.stack([bank.sum(0) for bank in g], 1) / index.shape[1]
        square = square + torch.stack([bank.square().sum(0) for bank in g], 1) / index.shape[1]
    return mean, square


def predicted(mean: Tensor, square: Tensor, count: int) -> Tensor:
    """Return the decrease [N] of the loss by a Newton step on the banks, with a diagonal Fisher matrix."""
    fisher = square + 0.01 * square.mean((2, 3), keepdim=True) + 1e-20
    return ((mean.square() - square / count) / fisher).sum((1, 2, 3)) / 2


def statistics(gradients: list[Moments], size: int) -> tuple[dict[str, Tensor], list[Tensor]]:
    """Return statistics [N] and maps [N, P] of two halves, and each half's coefficients [N, R, H, W].

    The statistics compare the deviations from the mean over positions in one half with those in the other.
    """
    (g0, q0), (g1, q1) = [(mean.flatten(2), square.flatten(2)) for mean, square in gradients]
    d0, d1 = (g - g.mean(1, keepdim=True) for g in (g0, g1))
    fisher = (q0 + q1) / 2
    by_weight = fisher.mean(1, keepdim=True) + 1e-20
    fisher = fisher + 0.01 * by_weight
    # what a change of the shared kernel explains: its Newton step, times the curvature at each position
    e0, e1 = (d - (fisher - by_weight) * g.mean(1, keepdim=True) / by_weight for d, g in ((d0, g0), (d1, g1)))
    z0, z1 = (d / by_weight.sqrt() for d in (d0, d1))

    def dot(a: Tensor, b: Tensor) -> Tensor:
        return (a * b).sum((1, 2))

    basis = additive_basis(size, g0.device)
    tops = [top_directions(basis.T @ z) @ basis.T for z in (z0, z1)]
    rank = [(top @ z).square().sum((1, 2)) for top, z in zip(tops, (z1, z0))]
    found = {
        "split-half correlation": dot(d0, d1) / (dot(d0, d0) * dot(d1, d1)).sqrt(),
        "size": (dot(d0, d0) * dot(d1, d1)) ** 0.25,
        "energy": dot(d0, d1),
        "energy / Fisher": dot(d0 / fisher, d1),
        "effective score": dot(e0 / fisher, e1),
        "energy of rank 2": (rank[0] + rank[1]) / 2,
        "map by energy": (d0 * d1 / fisher).sum(2),
        "map by size": (d0 + d1).square().sum(2),
        "map by singular vectors": _singular_map(z0, z1) + _singular_map(z1, z0),
    }
    return found, [(top * size).unflatten(2, (size, size)) for top in tops]


def _singular_map(z0: Tensor, z1: Tensor) -> Tensor:
    """Return the agreement [N, P] of both halves along the top right singular vectors of `z0` [N, P, D]."""
    directions = top_directions(z0) @ z0
    directions = directions / directions.norm(dim=2, keepdim=True)
    return ((z0 @ directions.mT) * (z1 @ directions.mT)).sum(2)


def top_directions(z: Tensor) -> Tensor:
    """Return the top left singular vectors [N, R, P] of z [N, P, D]."""
    return torch.linalg.eigh(z @ z.mT)[1][:, :, -RANK:].flip(2).mT


def additive_basis(size: int, device: torch.device) -> Tensor:
    """Return an orthonormal basis [P, 2 (size - 1)] of sums of a row term and a column term with mean 0."""
    centered = torch.linalg.svd(torch.eye(size, device=device) - 1 / size)[0][:, :-1].contiguous()
    ones = torch.full((size, 1), 1 / math.sqrt(size), device=device)
    return torch.cat([torch.kron(centered, ones), torch.kron(ones, centered)], 1)
