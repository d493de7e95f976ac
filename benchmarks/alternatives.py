"""Common ways to write a locally connected layer in torch, for any number of axes and groups.

Each function maps the input [N, C, *size] and the weight [P, *kernel, C / groups, O] to [N, O, *out_size].
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from shapes import Shape


def unfold_einsum(x: Tensor, weight: Tensor, shape: Shape) -> Tensor:
    """Compute the layer with `Tensor.unfold` and one einsum, as most repositories do."""
    patches, banks = _unfold_patches(x, shape), weight.unflatten(0, shape.out_size)
    p, k = ("hwd"[: shape.ndim], "ijl"[: shape.ndim])
    if shape.groups == 1:
        return torch.einsum(f"nc{p}{k},{p}{k}co->no{p}", patches, banks)
    patches = patches.unflatten(1, (shape.groups, -1))
    banks = banks.unflatten(-1, (shape.groups, -1))
    return torch.einsum(f"ngc{p}{k},{p}{k}cgo->ngo{p}", patches, banks).flatten(1, 2)


def unfold_bmm(x: Tensor, weight: Tensor, shape: Shape) -> Tensor:
    """Compute the layer with im2col (`F.unfold`) and one batched matrix product."""
    columns = _unfold_columns(x, shape)  # [N, C k k, P]
    banks = weight.movedim(-2, 1).flatten(1, -2)  # [P, C k k / groups, O]
    if shape.groups == 1:
        out = torch.bmm(columns.permute(2, 0, 1), banks).permute(1, 2, 0)
        return out.unflatten(2, shape.out_size)
    columns = columns.unflatten(1, (shape.groups, -1)).permute(3, 1, 0, 2).flatten(0, 1)
    banks = banks.unflatten(-1, (shape.groups, -1)).transpose(1, 2).flatten(0, 1)
    out = torch.bmm(columns, banks).unflatten(0, (-1, shape.groups))  # [P, groups, N, O / groups]
    return out.permute(2, 1, 3, 0).flatten(1, 2).unflatten(2, shape.out_size)


def broadcast(x: Tensor, weight: Tensor, shape: Shape) -> Tensor:
    """Compute the layer by multiplying patches and weights and then summing, the most copied snippet."""
    patches = _unfold_patches(x, shape).flatten(-shape.ndim)  # [N, C, *out, k k]
    patches = patches.unflatten(1, (shape.groups, 1, -1))  # [N, groups, 1, C / groups, *out, k k]
    banks = weight.flatten(1, shape.ndim).unflatten(0, shape.out_size)  # [*out, k k, C / groups, O]
    banks = banks.unflatten(-1, (shape.groups, -1)).movedim((-2, -1, -3), (0, 1, 2))
    return (patches * banks).sum((3, -1)).flatten(1, 2)


def fold(x: Tensor, weight: Tensor, shape: Shape) -> Tensor:
    """Compute the transposed layer with one einsum and `F.fold`; weight [input positions, O, C, *kernel]."""
    patches = torch.einsum("ncp,pock->nokp", x.flatten(2), weight.flatten(3))
    size = [(n - 1) * shape.stride - 2 * shape.padding + shape.kernel for n in shape.in_size]
    return F.fold(patches.flatten(1, 2), size, shape.kernel, padding=shape.padding, stride=shape.stride)


def count_broadcast_bytes(shape: Shape) -> int:
    """Return the size in bytes of the temporary of `broadcast`, in float32."""
    return 4 * shape.outputs * shape.taps


def _unfold_patches(x: Tensor, shape: Shape) -> Tensor:
    """Return the patches [N, C, *out_size, *kernel], as a view if there is no padding."""
    patches = F.pad(x, (shape.padding,) * (2 * shape.ndim))
    for axis in range(2, 2 + shape.ndim):
        patches = patches.unfold(axis, shape.kernel, shape.stride)
    return patches


def _unfold_columns(x: Tensor, shape: Shape) -> Tensor:
    """Return the result of `F.unfold`, which supports images only, for one or two axes."""
    if shape.ndim == 2:
        return F.unfold(x, shape.kernel, stride=shape.stride, padding=shape.padding)
    size, padding, stride = (1, shape.kernel), (0, shape.padding), (1, shape.stride)
    return F.unfold(x.unsqueeze(2), size, stride=stride, padding=padding)
