"""Many small convolutional networks at once: every tensor has a leading axis of members.

A network is convolutions with optional batch norm and ReLU, global average pooling and a linear head. Members
share the architecture and the kind of candidate; they differ in weights, data, batch norm, padding and loss.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

EPS, MOMENTUM, BATCH = 1e-5, 0.1, 100
Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Architecture:
    """Channels and kernel sizes of the convolutions; `size` is the height and width of the images."""

    channels: int = 8
    kernels: tuple[int, ...] = (3, 3, 3)
    size: int = 14
    outputs: int = 10


@dataclass
class Members:
    """What differs between the members, each a tensor [N, ...].

    `pool` holds, for each member, the indices of its images among the images of its `source`.
    """

    source: Tensor
    pool: Tensor
    labels: Tensor
    targets: Tensor
    norm: Tensor
    circular: Tensor
    regression: Tensor

    def select(self, chosen: Tensor) -> "Members":
        return Members(**{name: value[chosen] for name, value in vars(self).items()})


class Flat:
    """Named parameters [N, ...] as views of one matrix [N, D], so that the optimizer has one tensor."""

    def __init__(self, tensors: Tensors) -> None:
        self.shapes = {name: value.shape for name, value in tensors.items()}
        self.matrix = torch.cat([value.flatten(1) for value in tensors.values()], 1)

    def views(self, matrix: Tensor) -> Tensors:
        sizes = [math.prod(shape[1:]) for shape in self.shapes.values()]
        parts = matrix.split(sizes, 1)
        return {name: part.view(shape) for (name, shape), part in zip(self.shapes.items(), parts)}


def convolve(x: Tensor, weight: Tensor) -> Tensor:
    """Convolve padded images [B, N, C, H, W] with a kernel [N, O, C, k, k] of each member."""
    return convolve_by_products(x, weight) if x.is_cuda else convolve_in_groups(x, weight)


def convolve_in_groups(x: Tensor, weight: Tensor) -> Tensor:
    y = F.conv2d(x.flatten(1, 2), weight.flatten(0, 1), groups=len(weight))
    return y.unflatten(1, weight.shape[:2])


def convolve_by_products(x: Tensor, weight: Tensor) -> Tensor:
    k = weight.shape[-1]
    height, width = x.shape[3] - k + 1, x.shape[4] - k + 1
    x = x.permute(1, 2, 0, 3, 4)
    shifts = [x[..., i : i + height, j : j + width] for i in range(k) for j in range(k)]
    y = weight.flatten(2) @ torch.stack(shifts, 2).flatten(3).flatten(1, 2)
    return y.unflatten(2, (-1, height, width)).permute(2, 0, 1, 3, 4)


def unfold(x: Tensor, k: int) -> Tensor:
    """Return the patches [B, N, C k k, P] of padded images [B, N, C, H, W]."""
    return F.unfold(x.flatten(0, 1), k).view(*x.shape[:2], x.shape[2] * k * k, -1)


def pad(x: Tensor, k: int, circular: Tensor) -> Tensor:
    """Pad circularly, then set the border to zero where the member pads with zeros."""
    p = k // 2
    y = F.pad(x.flatten(0, 1), (p, p, p, p), mode="circular").view(*x.shape[:3], x.shape[3] + 2 * p, -1)
    inner = F.pad(torch.ones_like(x[0, :1, :1]), (p, p, p, p))
    return y * torch.maximum(inner, circular.view(-1, 1, 1, 1).to(x.dtype))


def forward(
    tensors: Tensors,
    state: Tensors,
    x: Tensor,
    members: Members,
    training: bool = False,
    probes: dict[int, Tensor] | None = None,
    inputs: list[Tensor] | None = None,
) -> Tensor:
    """Return the outputs [B, N, outputs]; with `training`, update the running statistics in `state`.

    `probes` are added to the outputs of their convolutions. The padded inputs of all convolutions are
    appended to `inputs`.
    """
    layer = 0
    norm = members.norm.view(-1, 1)
    while f"{layer}.weight" in tensors:
        weight, bias = tensors[f"{layer}.weight"], tensors[f"{layer}.bias"]
        count, out_channels, _, k, _ = weight.shape
        x = pad(x, k, members.circular)
        if inputs is not None:
            inputs.append(x.detach())
        if f"{layer}.blind" in tensors:
            weight = weight + torch.einsum(
                "nr,nr...->n...", tensors[f"{layer}.mix"], tensors[f"{layer}.blind"]
            )
        if f"{layer}.banks" in tensors:
            banks = tensors[f"{layer}.banks"]
            y = convolve(x, torch.cat([weight, banks.flatten(1, 2)], 1))
            a = tensors[f"{layer}.rows"][..., None] + tensors[f"{layer}.columns"][..., None, :]
            y = y.view(len(x), count, -1, out_channels, *y.shape[3:])
            y = y[:, :, 0] + (y[:, :, 1:] * a[:, :, None]).sum(2)
        elif f"{layer}.free" in tensors:  # a teacher with coefficients [N, H, W] of one correction
            y = convolve(x, torch.cat([weight, tensors[f"{layer}.correction"]], 1))
            y = y[:, :, :out_channels] + y[:, :, out_channels:] * tensors[f"{layer}.free"][:, None]
        else:
            y = convolve(x, weight)
        y = y + bias[..., None, None]
        if f"{layer}.map" in tensors:
            y = y + tensors[f"{layer}.map"]
        if probes is not None and layer in probes:
            y = y + probes[layer]
        if training:
            var, mean = torch.var_mean(y, (0, 3, 4), correction=0)
            with torch.no_grad():
                values = y.numel() / mean.numel()
                state[f"{layer}.mean"].lerp_(mean, MOMENTUM)
                state[f"{layer}.var"].lerp_(var * values / (values - 1), MOMENTUM)
        else:
            mean, var = state[f"{layer}.mean"], state[f"{layer}.var"]
        scale = torch.where(norm, tensors[f"{layer}.gamma"] * (var + EPS).rsqrt(), 1.0)
        shift = torch.where(norm, tensors[f"{layer}.beta"] - mean * scale, 0.0)
        x = (y * scale[..., None, None] + shift[..., None, None]).relu()
        layer += 1
    pooled = x.mean((3, 4))
    return torch.einsum("bnc,noc->bno", pooled, tensors["head.weight"]) + tensors["head.bias"]


def initialize(arch: Architecture, count: int, device: torch.device) -> tuple[Tensors, Tensors]:
    """Return parameters and running statistics of N networks, initialized as `torch.nn` does."""
    tensors: Tensors = {}
    state: Tensors = {}

    def uniform(*shape: int, fan_in: int) -> Tensor:
        return (torch.rand(count, *shape, device=device) * 2 - 1) / math.sqrt(fan_in)

    in_channels = 1
    for layer, k in enumerate(arch.kernels):
        out_channels = arch.channels
        tensors[f"{layer}.weight"] = uniform(out_channels, in_channels, k, k, fan_in=in_channels * k * k)
        tensors[f"{layer}.bias"] = uniform(out_channels, fan_in=in_channels * k * k)
        tensors[f"{layer}.gamma"] = torch.ones(count, out_channels, device=device)
        tensors[f"{layer}.beta"] = torch.zeros(count, out_channels, device=device)
        state[f"{layer}.mean"] = torch.zeros(count, out_channels, device=device)
        state[f"{layer}.var"] = torch.ones(count, out_channels, device=device)
        in_channels = out_channels
    tensors["head.weight"] = uniform(arch.outputs, in_channels, fan_in=in_channels)
    tensors["head.bias"] = uniform(arch.outputs, fan_in=in_channels)
    return tensors, state


def batch(images: Tensor, members: Members, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return images [B, N, 1, H, W], labels [B, N] and targets [B, N, outputs] at `index` [N, B]."""
    x = images[members.source[:, None], members.pool.gather(1, index).long()]
    rows = torch.arange(len(index), device=index.device)[:, None]
    return (
        x.transpose(0, 1)[:, :, None],
        members.labels[rows, index].T,
        members.targets[rows, index].transpose(0, 1).float(),
    )


def loss_of(outputs: Tensor, labels: Tensor, targets: Tensor, members: Members) -> Tensor:
    """Return the loss [B, N] of each example: cross-entropy, or the mean squared error for regression."""
    entropy = F.cross_entropy(outputs.flatten(0, 1), labels.flatten().long(), reduction="none").view(
        labels.shape
    )
    return torch.where(members.regression, (outputs - targets).square().mean(2), entropy)


@dataclass
class Recipe:
    """Adam with a linear decay of the learning rate by `decay`; every value is a tensor [N]."""

    epochs: Tensor
    rate: Tensor
    weight_decay: Tensor
    decay: Tensor

    def select(self, chosen: Tensor) -> "Recipe":
        return Recipe(**{name: value[chosen] for name, value in vars(self).items()})


def train(
    tensors: Tensors,
    state: Tensors,
    images: Tensor,
    members: Members,
    index: Tensor,
    recipe: Recipe,
    seed: int,
) -> tuple[Tensors, Tensors]:
    """Train on the examples `index` [N, n]; equal seeds give equal orders of the examples."""
    state = {name: value.clone() for name, value in state.items()}
    flat = Flat(tensors)
    p = flat.matrix.clone().requires_grad_()
    first, second = torch.zeros_like(p), torch.zeros_like(p)
    generator = torch.Generator(index.device).manual_seed(seed)
    count, n = index.shape
    per_epoch = n // BATCH
    steps = recipe.epochs * per_epoch
    for step in range(int(steps.max())):
        if step % per_epoch == 0:
            order = index.gather(1, torch.rand(count, n, generator=generator, device=index.device).argsort(1))
        start = step % per_epoch * BATCH
        x, labels, targets = batch(images, members, order[:, start : start + BATCH])
        outputs = forward(flat.views(p), state, x, members, training=True)
        (g,) = torch.autograd.grad(loss_of(outputs, labels, targets, members).mean(0).sum(), p)
        with torch.no_grad():
            rate = recipe.rate * (1 - recipe.decay * step / steps) * (step < steps)
            g = g + recipe.weight_decay[:, None] * p
            first.lerp_(g, 0.1)
            second.mul_(0.999).addcmul_(g, g, value=0.001)
            scale = rate / (1 - 0.9 ** (step + 1))
            p.sub_(scale[:, None] * first / ((second / (1 - 0.999 ** (step + 1))).sqrt() + 1e-8))
    return flat.views(p.detach()), state


@torch.no_grad()
def evaluate(tensors: Tensors, state: Tensors, images: Tensor, members: Members, index: Tensor) -> Tensor:
    """Return the loss [N, n] of each example."""
    parts = []
    for part in index.split(2 * BATCH, 1):
        x, labels, targets = batch(images, members, part)
        parts.append(loss_of(forward(tensors, state, x, members), labels, targets, members).T)
    return torch.cat(parts, 1)
