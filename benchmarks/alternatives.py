"""What people write for a locally connected layer today; each takes [N, C, H, W] and [P, k, k, C, O]."""

import torch
import torch.nn.functional as F
from torch import Tensor


def unfold_einsum(x: Tensor, weight: Tensor, kernel: int, stride: int, padding: int) -> Tensor:
    """Patches by `Tensor.unfold`, then one einsum; the form in most repositories."""
    patches = F.pad(x, (padding,) * 4).unfold(2, kernel, stride).unfold(3, kernel, stride)
    banks = weight.unflatten(0, patches.shape[2:4])
    return torch.einsum("nchwij,hwijco->nohw", patches, banks)


def unfold_bmm(x: Tensor, weight: Tensor, kernel: int, stride: int, padding: int) -> Tensor:
    """im2col by `F.unfold`, then one batched product."""
    columns = F.unfold(x, kernel, stride=stride, padding=padding)  # [N, C k k, P]
    banks = weight.permute(0, 3, 1, 2, 4).flatten(1, 3)  # [P, C k k, O]
    out = torch.bmm(columns.permute(2, 0, 1), banks)
    return out.permute(1, 2, 0).unflatten(2, _map_size(x, kernel, stride, padding))


def broadcast(x: Tensor, weight: Tensor, kernel: int, stride: int, padding: int) -> Tensor:
    """Multiply patches by weights over all outputs and sum: the snippet that is copied most."""
    patches = F.pad(x, (padding,) * 4).unfold(2, kernel, stride).unfold(3, kernel, stride)
    patches = patches.reshape(*patches.shape[:4], -1)  # [N, C, H, W, k k]
    banks = weight.flatten(1, 2).unflatten(0, patches.shape[2:4]).permute(4, 3, 0, 1, 2)  # [O, C, H, W, k k]
    return (patches.unsqueeze(1) * banks).sum((2, -1))


def broadcast_bytes(batch: int, channels: int, positions: int, out: int, kernel: int) -> int:
    """Bytes of the snippet's temporary in float32."""
    return 4 * batch * out * channels * kernel**2 * positions


def _map_size(x: Tensor, kernel: int, stride: int, padding: int) -> tuple[int, ...]:
    return tuple((n + 2 * padding - kernel) // stride + 1 for n in x.shape[2:])
