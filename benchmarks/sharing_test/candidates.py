"""What is trained further: the network as it is, relaxed layers, and controls that cannot use position."""

import math

import torch
from torch import Tensor

from .networks import Tensors

RANK, EXTRA = 2, 8


def relax(
    tensors: Tensors, layer: int, size: int, generator: torch.Generator, left: Tensor | None = None
) -> Tensors:
    """Relax a layer to `LowRank(2)`; `left` [N, R, H, W] gives the coefficients, otherwise they are drawn."""
    weight = tensors[f"{layer}.weight"]
    count, device = len(weight), weight.device
    if left is None:
        rows, columns = torch.randn(2, count, RANK, size, generator=generator, device=device) / math.sqrt(2)
    else:
        rows, columns = left.mean(3), left.mean(2)
    return tensors | {
        f"{layer}.banks": weight.new_zeros(count, RANK, *weight.shape[1:]),
        f"{layer}.rows": rows,
        f"{layer}.columns": columns,
    }


def blind(tensors: Tensors, layer: int, generator: torch.Generator) -> Tensors:
    """Add as many parameters to the kernel, mixed with coefficients that do not depend on position."""
    weight = tensors[f"{layer}.weight"]
    mix = torch.randn(len(weight), RANK, generator=generator, device=weight.device)
    return tensors | {
        f"{layer}.blind": weight.new_zeros(len(weight), RANK, *weight.shape[1:]),
        f"{layer}.mix": mix,
    }


def widen(
    tensors: Tensors, state: Tensors, layer: int, generator: torch.Generator
) -> tuple[Tensors, Tensors]:
    """Add channels whose outgoing weights are zero."""
    tensors, state = dict(tensors), dict(state)

    def extend(name: str, axis: int, value: float | Tensor, held: Tensors = tensors) -> None:
        old = held[name]
        shape = list(old.shape)
        shape[axis] = EXTRA
        new = torch.full(shape, value, device=old.device) if isinstance(value, float) else value
        held[name] = torch.cat([old, new], axis)

    count, _, in_channels, k, _ = tensors[f"{layer}.weight"].shape
    device = tensors["head.weight"].device
    bound = 1 / math.sqrt(in_channels * k * k)

    def draw(*shape: int) -> Tensor:
        return (torch.rand(shape, generator=generator, device=device) * 2 - 1) * bound

    extend(f"{layer}.weight", 1, draw(count, EXTRA, in_channels, k, k))
    extend(f"{layer}.bias", 1, draw(count, EXTRA))
    extend(f"{layer}.gamma", 1, 1.0)
    extend(f"{layer}.beta", 1, 0.0)
    extend(f"{layer}.mean", 1, 0.0, state)
    extend(f"{layer}.var", 1, 1.0, state)
    extend(f"{layer + 1}.weight" if f"{layer + 1}.weight" in tensors else "head.weight", 2, 0.0)
    return tensors, state


def bias_map(tensors: Tensors, layer: int, size: int) -> Tensors:
    """Add a bias for each position."""
    bias = tensors[f"{layer}.bias"]
    return tensors | {f"{layer}.map": bias.new_zeros(*bias.shape, size, size)}
