"""How well the gradients show where a kernel differs: one convolution with another kernel at some places."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .cases import HALF, SIZE, SOURCES, TRAIN
from .gradients import statistics

PLACES, CHANNELS, CLASSES = 20, 4, 10
#: What follows the convolution: nothing, a linear layer over all positions, or pooling and a linear layer.
HEADS = ("none", "linear", "pooled")


def run_maps(images: Tensor, seed: int) -> list[dict]:
    """Return the fraction of places in the top quarter of each map, by images, head and strength."""
    generator = torch.Generator(images.device).manual_seed(seed)
    return [
        {"source": source, "head": head, "strength": strength}
        | measure_map(images[source], head, strength, generator)
        for source in range(len(SOURCES))
        for head in HEADS
        for strength in (0.5, 1.0, 2.0)
    ]


def measure_map(images: Tensor, head: str, strength: float, generator: torch.Generator) -> dict[str, float]:
    """Return the fraction of planted places in the top quarter of each map, for images [n, 14, 14]."""
    device = images.device

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, device=device)

    order = torch.randperm(len(images), generator=generator, device=device)[: TRAIN + 2 * HALF]
    patches = F.unfold(images[order][:, None], 3, padding=1)
    shared, other = normal(CHANNELS, 9) / 3, normal(CHANNELS, 9) / 3 * strength
    places = torch.randperm(SIZE * SIZE, generator=generator, device=device)[:PLACES]
    linear = normal(CLASSES, CHANNELS, SIZE * SIZE)

    def finish(y: Tensor) -> Tensor:
        """Apply the head to the outputs [n, O, P] of the convolution."""
        if head == "none":
            return y
        weight = linear if head == "linear" else linear[..., :1].expand_as(linear)
        return torch.einsum("kop,nop->nk", weight, y.relu()) / SIZE

    y = shared @ patches
    y[:, :, places] += other @ patches[:, :, places]
    targets = finish(y)
    targets = targets + targets.std() * normal(*targets.shape)
    kernel = shared.clone().requires_grad_()
    optimizer = torch.optim.Adam([kernel], 0.02)
    for step in range(3 * TRAIN // 100):
        part = torch.arange(100, device=device) + step * 100 % TRAIN
        optimizer.zero_grad()
        F.mse_loss(finish(kernel @ patches[part]), targets[part]).backward()
        optimizer.step()
    gradients = []
    for start in (TRAIN, TRAIN + HALF):
        part = slice(start, start + HALF)
        y = (kernel.detach() @ patches[part]).requires_grad_()
        loss = (finish(y) - targets[part]).square().flatten(1).mean(1).sum()
        (delta,) = torch.autograd.grad(loss, y)
        delta, x = delta.permute(2, 1, 0), patches[part].permute(2, 0, 1)
        gradients.append(((delta @ x)[None] / HALF, (delta.square() @ x.square())[None] / HALF))
    found, _ = statistics(gradients, SIZE)
    quarter = SIZE * SIZE // 4
    return {
        name: torch.isin(places, value[0].topk(quarter).indices).float().mean().item()
        for name, value in found.items()
        if name.startswith("map")
    }
