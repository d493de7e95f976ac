"""Train one network until its validation accuracy stops improving, and evaluate it."""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import StudyError
from .spec import StudySpec

LEARNING_RATE_DROPS = 2
DROP_FACTOR = 0.2
EVALUATION_BATCH = 250


@dataclass(frozen=True)
class Fit:
    """A record of a training run.

    Args:
        validation_accuracy: Validation accuracy after each epoch.
        train_loss: Mean cross-entropy of each epoch, in nats.
        best_epoch: The epoch, counted from 1, whose weights the network has now.
        hit_cap: Whether the run stopped at the epoch limit, and not because it stopped improving.
        seconds: Time spent on training and validation.
    """

    validation_accuracy: list[float]
    train_loss: list[float]
    best_epoch: int
    hit_cap: bool
    seconds: float


def fit(
    network: nn.Module,
    train: tuple[Tensor, Tensor],
    validation: tuple[Tensor, Tensor],
    spec: StudySpec,
    fabric: Fabric,
    seed: int,
    on_epoch: Callable[[int, float], None],
    where: str = "study",
) -> tuple[nn.Module, Fit]:
    """Train a network with Adam until its validation accuracy stops improving.

    After `patience` epochs without a better validation accuracy, the learning rate drops. Training stops when
    this happens again after the second drop, or at the epoch limit. The network then gets the weights of its
    best epoch: the one with the highest validation accuracy and, among equals, the lowest validation loss.
    The order of the images depends only on the seed, so it is the same for every row.

    Args:
        on_epoch: Called after each epoch with its number, counted from 1, and its validation accuracy.
        where: Row and seed, for errors.

    Returns:
        The network, set up on the device, and the record of the run.

    Raises:
        StudyError: If a loss is not finite.
    """
    start = time.perf_counter()
    network, optimizer = fabric.setup(network, torch.optim.Adam(network.parameters(), spec.learning_rate))
    order = torch.Generator().manual_seed(seed)
    accuracies: list[float] = []
    losses: list[float] = []
    best, best_epoch, best_state = (-1.0, 0.0), 0, network.state_dict()
    waited = drops = 0
    converged = False
    while not converged and len(accuracies) < spec.epochs_max:
        losses.append(train_epoch(network, optimizer, train, spec.batch_size, fabric, order))
        accuracy, loss = evaluate(network, validation)
        for name, value in (("training", losses[-1]), ("validation", loss)):
            if not isfinite(value):
                raise StudyError(
                    f"{where}, epoch {len(losses)}",
                    f"the {name} loss must be finite",
                    str(value),
                    "use a lower learning rate or precision 32-true; finished trials are saved",
                )
        accuracies.append(accuracy)
        on_epoch(len(accuracies), accuracy)
        waited = 0 if accuracy > best[0] else waited + 1
        if (accuracy, -loss) > best:
            best, best_epoch = (accuracy, -loss), len(accuracies)
            best_state = copy.deepcopy(network.state_dict())
        if waited >= spec.patience:
            converged = drops == LEARNING_RATE_DROPS
            waited, drops = 0, drops + 1
            for group in optimizer.param_groups:
                group["lr"] *= DROP_FACTOR
    network.load_state_dict(best_state)
    return network, Fit(accuracies, losses, best_epoch, not converged, time.perf_counter() - start)


def train_epoch(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    train: tuple[Tensor, Tensor],
    batch_size: int,
    fabric: Fabric,
    order: torch.Generator,
) -> float:
    """Train for one epoch in a new random order and return the mean loss.

    With several devices, each one takes its share of every batch.
    """
    images, labels = train
    network.train()
    total = torch.zeros((), device=images.device)
    permutation = torch.randperm(len(images), generator=order).to(images.device)
    batches = permutation.split(batch_size)
    if len(batches) > 1 and len(batches[-1]) < batch_size // 2:
        batches = batches[:-1]  # too small for batch norm; other epochs use these images
    for batch in batches:
        mine = batch[fabric.global_rank :: fabric.world_size] if fabric.world_size > 1 else batch
        loss = F.cross_entropy(network(images[mine]), labels[mine])
        optimizer.zero_grad()
        fabric.backward(loss)
        optimizer.step()
        total += loss.detach()
    return total.item() / len(batches)


@torch.no_grad()
def evaluate(network: nn.Module, pair: tuple[Tensor, Tensor]) -> tuple[float, float]:
    """Return the accuracy and the mean cross-entropy on a pair of images and labels."""
    network.eval()
    correct, loss = 0, 0.0
    for images, labels in zip(pair[0].split(EVALUATION_BATCH), pair[1].split(EVALUATION_BATCH)):
        logits = network(images).float()
        correct += (logits.argmax(1) == labels).sum().item()
        loss += F.cross_entropy(logits, labels, reduction="sum").item()
    return correct / len(pair[1]), loss / len(pair[1])
