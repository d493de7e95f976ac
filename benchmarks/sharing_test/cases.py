"""Simulated cases: images, teachers that share or do not, labels from the teachers, and their students."""

import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .networks import Architecture, Members, Recipe, Tensors, forward, initialize

SOURCES = ("digits", "shifted digits", "stationary noise", "modulated noise", "photographs")
SIZE = 14
#: Numbers of images: training set of the student, each half of the unseen images, and fresh images.
TRAIN, HALF, FRESH = 5000, 3500, 20000
STUDENT = Architecture()
TEACHERS = (STUDENT, Architecture(16), Architecture(12, (5, 5)))
EPOCHS = (2, 5, 15, 40)


def make_images(folder: Path, count: int, seed: int, device: torch.device) -> Tensor:
    """Return images [sources, count, 14, 14] with mean 0 and variance 1.

    Args:
        folder: Has mnist.npz and cifar10_15k.npz, with arrays `x_train` and `x_test`.
    """
    generator = torch.Generator(device).manual_seed(seed)

    def load(name: str) -> Tensor:
        arrays = np.load(folder / name)
        images = torch.from_numpy(np.concatenate([arrays["x_train"], arrays["x_test"]])).to(device).float()
        images = images.mean(3) if images.dim() == 4 else images
        return F.avg_pool2d(images[:, None], 2)[:, 0]

    def draw(most: int, *shape: int) -> Tensor:
        return torch.randint(most, shape, generator=generator, device=device)

    def crop(images: Tensor, number: Tensor, most: int) -> Tensor:
        """Crop at places up to `most` pixels from the corner, around the edges."""
        side = torch.arange(SIZE, device=device)
        rows, columns = ((draw(most, count, 1) + side) % images.shape[1] for _ in range(2))
        return images[number[:, None, None], rows[:, :, None], columns[:, None]]

    digits = load("mnist.npz")[:count]
    photographs = load("cifar10_15k.npz")
    first, second = (crop(photographs, draw(len(photographs), count), 3) for _ in range(2))
    frequency = torch.fft.fftfreq(SIZE, device=device)
    power = 1 / (frequency[:, None].square() + frequency.square() + 0.01)
    white = torch.randn(count, SIZE, SIZE, generator=generator, device=device)
    noise = torch.fft.ifft2(torch.fft.fft2(white) * power.sqrt()).real
    line = torch.linspace(-1, 1, SIZE, device=device)
    modulated = noise / noise.std() * (1.2 + line)[:, None] + torch.sin(3 * line)
    shifted = crop(digits, torch.arange(count, device=device), SIZE)
    images = torch.stack([digits, shifted, noise, modulated, first + 0.7 * second])
    return (images - images.mean((1, 2, 3), keepdim=True)) / images.std((1, 2, 3), keepdim=True)


def make_cases(
    count: int,
    images: Tensor,
    generator: torch.Generator,
    arch: Architecture = STUDENT,
    share: bool = False,
    fresh: int = FRESH,
) -> tuple[Members, Recipe, dict[str, Tensor]]:
    """Return members, the recipes of their students, and the properties of the cases; odd cases are planted.

    Args:
        arch: Architecture of the students.
        share: Plant nothing.
        fresh: Number of fresh images per case.
    """
    device = images.device

    def choose(*values: float) -> Tensor:
        return torch.tensor(values, device=device)[
            torch.randint(len(values), (count,), generator=generator, device=device)
        ]

    total = TRAIN + 2 * HALF + fresh
    pool = [torch.randperm(images.shape[1], generator=generator, device=device)[:total] for _ in range(count)]
    properties = {
        "planted": (torch.arange(count, device=device) % 2 == 1) & (not share),
        "teacher": choose(0, 0, 1, 2),
        "source": choose(0, 0, 1, 2, 3, 4),
        "norm": choose(0, 1).bool(),
        "circular": choose(0, 0, 1).bool(),
        "regression": choose(0, 0, 1).bool(),
        "layer": choose(0, 1, 2),
        "strength": choose(0.5, 1.0, 2.0),
        "form": choose(0, 1, 2),
        "sharpness": choose(1.5, 2.5, 4.0),
        "epochs": choose(*EPOCHS),
        "rate": choose(2e-3, 5e-3, 1e-2),
        "decay": choose(0.95, 0.95, 0.0),
        "weight_decay": choose(0.0, 0.0, 1e-3),
    }
    members = Members(
        properties["source"],
        torch.stack(pool).int(),
        torch.zeros(count, total, dtype=torch.uint8, device=device),
        torch.zeros(count, total, arch.outputs, dtype=torch.float16, device=device),
        properties["norm"],
        properties["circular"],
        properties["regression"],
    )
    for number, teacher in enumerate(TEACHERS):
        chosen = (properties["teacher"] == number).nonzero()[:, 0]
        if len(chosen):
            part = members.select(chosen)
            part.norm = torch.zeros_like(part.norm)
            network = _draw_teacher(teacher, chosen, properties, generator)
            z = outputs(*network, images, part)
            z = (z - z.mean(1, keepdim=True)) / z.std(1, keepdim=True)
            sharpness = properties["sharpness"][chosen, None, None]
            set_labels(members, chosen, z * sharpness, z, 0.7, generator)
    recipe = Recipe(*(properties[name] for name in ("epochs", "rate", "weight_decay", "decay")))
    return members, recipe, properties


def _draw_teacher(
    teacher: Architecture,
    chosen: Tensor,
    properties: dict[str, Tensor],
    generator: torch.Generator,
) -> tuple[Tensors, Tensors]:
    """Return the teachers of the `chosen` cases.

    The coefficients of a planted correction are drawn as those of `LowRank`, have two values in two regions,
    or are linear in the position.
    """
    device, n = chosen.device, len(chosen)
    tensors, state = initialize(teacher, n, device)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, device=device)

    for name, value in tensors.items():
        if name.endswith("weight"):
            tensors[name] = normal(*value.shape) * 1.2 / math.sqrt(math.prod(value.shape[2:]))
        elif name.endswith("bias"):
            tensors[name] = normal(*value.shape) * 1.2
    line = torch.linspace(-1, 1, SIZE, device=device)
    planted, strength = properties["planted"][chosen], properties["strength"][chosen]
    for layer in range(len(teacher.kernels)):
        angle = normal(n, 2)
        plane = angle[:, :1, None] * line[:, None] + angle[:, 1:, None] * line
        additive = (normal(n, SIZE, 1) + normal(n, 1, SIZE)) / math.sqrt(2)
        forms = torch.stack([additive, plane.sign(), plane / plane.std((1, 2), keepdim=True)])
        a = forms[properties["form"][chosen], torch.arange(n, device=device)]
        scale = strength * planted * (properties["layer"][chosen] % len(teacher.kernels) == layer)
        weight = tensors[f"{layer}.weight"]
        deviation = weight.flatten(1).std(1) * scale
        tensors[f"{layer}.correction"] = normal(*weight.shape) * deviation.view(-1, 1, 1, 1, 1)
        tensors[f"{layer}.free"] = a
    return tensors, state


@torch.no_grad()
def outputs(tensors: Tensors, state: Tensors, images: Tensor, members: Members) -> Tensor:
    """Return the outputs [N, M, outputs] for all M images of each member."""
    parts = []
    for part in members.pool.split(200, 1):
        x = images[members.source[:, None], part.long()].transpose(0, 1)[:, :, None]
        parts.append(forward(tensors, state, x, members).transpose(0, 1))
    return torch.cat(parts, 1)


def set_labels(
    members: Members,
    chosen: Tensor,
    logits: Tensor,
    mean: Tensor,
    noise: float | Tensor,
    generator: torch.Generator,
) -> None:
    """Draw labels from the logits and targets around the mean, both [n, M, outputs]."""
    uniform = torch.rand(logits.shape, generator=generator, device=logits.device).clamp_(1e-20)
    members.labels[chosen] = (logits - (-uniform.log()).log()).argmax(2).to(torch.uint8)
    targets = mean + noise * torch.randn(mean.shape, generator=generator, device=mean.device)
    members.targets[chosen] = targets.half()
