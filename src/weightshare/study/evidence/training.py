"""A plain training loop for small networks."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..data import shift_inputs

Loss = Callable[[Tensor, Tensor], Tensor]


def train(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    *,
    seed: int,
    loss: Loss = F.cross_entropy,
    epochs: int = 20,
    batch_size: int = 32,
    learning_rate: float = 2e-3,
    weight_decay: float = 0.0,
    decays: bool = True,
    augment: Callable[[Tensor, torch.Generator], Tensor] | None = None,
    stop: Callable[[int], bool] | None = None,
) -> int:
    """Train a model in place with Adam, and return the number of epochs.

    Args:
        model: Model to train.
        inputs, targets: Training examples.
        seed: Seed of the order of the examples, and of `augment`.
        loss: Function of outputs and targets.
        epochs: Largest number of epochs.
        batch_size: Examples per step.
        learning_rate: Initial learning rate.
        weight_decay: Factor of the decoupled weight decay.
        decays: Whether the learning rate falls to zero along a cosine.
        augment: Function of a batch of inputs and a generator that returns the batch to train on.
        stop: Function of the number of epochs so far that returns whether to stop. The model is in
            evaluation mode when it is called.
    """
    generator = torch.Generator().manual_seed(seed)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, learning_rate, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for epoch in range(1, epochs + 1):
        model.train()
        for batch in torch.randperm(len(inputs), generator=generator).split(batch_size):
            x = inputs[batch] if augment is None else augment(inputs[batch], generator)
            optimizer.zero_grad()
            loss(model(x), targets[batch]).backward()
            optimizer.step()
        if decays:
            schedule.step()
        model.eval()
        if stop is not None and stop(epoch):
            return epoch
    return epochs


@torch.no_grad()
def measure_accuracy(model: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """Return the accuracy in percent."""
    correct = sum(
        int((model(x).argmax(1) == y).sum()) for x, y in zip(inputs.split(1000), labels.split(1000))
    )
    return 100 * correct / len(labels)


def shift_randomly(
    images: Tensor, most: tuple[int, int], generator: torch.Generator, fill: float = 0.0
) -> Tensor:
    """Shift each image [N, C, H, W] by up to `most` pixels along both axes; all shifts are equally likely.

    Args:
        images: The images.
        most: Largest vertical and horizontal shift.
        generator: Source of the shifts.
        fill: Value of the pixels that the shift uncovers.
    """
    height, width = images.shape[-2:]
    padded = F.pad(images, (most[1], most[1], most[0], most[0]), value=fill)
    rows, columns = (
        torch.randint(2 * one + 1, (len(images), 1), generator=generator) + torch.arange(length)
        for one, length in zip(most, (height, width))
    )
    index = torch.arange(len(images))[:, None, None]
    return padded[index, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def shift_all(images: Tensor, pixels: int, fill: float = 0.0) -> list[Tensor]:
    """Return all images [N, C, H, W] shifted up, down, left and right by this many pixels."""
    background = torch.full((images.shape[1],), fill)
    moves = ((pixels, 0), (-pixels, 0), (0, pixels), (0, -pixels))
    return [shift_inputs(images, move, background) for move in moves]
