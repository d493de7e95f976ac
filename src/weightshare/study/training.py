"""Training one network until its validation accuracy stops improving."""

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

RATE_CUTS = 2
CUT = 0.2
EVALUATION_BATCH = 250


@dataclass(frozen=True)
class Fit:
    """How a training went.

    Args:
        validation_accuracy: After every epoch.
        train_loss: Mean cross-entropy over every epoch, in nats.
        best_epoch: The epoch, from 1, whose weights the network has now.
        hit_cap: Whether training was ended by the cap on epochs rather than by a standstill.
        seconds: Spent on training and validation.
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
    """Train with Adam; after `patience` epochs without a better validation accuracy the step size is cut.

    After the second cut and as many epochs again training stops, and the weights of the best epoch return
    (the highest validation accuracy, and among equals the lowest validation loss). The order of the images
    depends on the seed alone, so it is the same for every row.

    Args:
        on_epoch: Called after every epoch with its number, from 1, and its validation accuracy.
        where: The row and its seed, for errors.

    Returns:
        The network, set up on the device, and how its training went.

    Raises:
        StudyError: a loss that is no finite number.
    """
    start = time.perf_counter()
    network, optimizer = fabric.setup(network, torch.optim.Adam(network.parameters(), spec.learning_rate))
    order = torch.Generator().manual_seed(seed)
    accuracies: list[float] = []
    losses: list[float] = []
    best, best_epoch, best_state = (-1.0, 0.0), 0, network.state_dict()
    waited = cuts = 0
    while len(accuracies) < spec.epochs_max:
        losses.append(_epoch(network, optimizer, train, spec.batch_size, fabric, order))
        accuracy, loss = evaluate(network, validation)
        for name, value in (("training", losses[-1]), ("validation", loss)):
            if not isfinite(value):
                raise StudyError(
                    f"{where}, epoch {len(losses)}",
                    f"the {name} loss must be a finite number",
                    str(value),
                    "use a lower --learning-rate or --precision 32-true; finished trials are kept",
                )
        accuracies.append(accuracy)
        on_epoch(len(accuracies), accuracy)
        waited = 0 if accuracy > best[0] else waited + 1
        if (accuracy, -loss) > best:
            best, best_epoch = (accuracy, -loss), len(accuracies)
            best_state = copy.deepcopy(network.state_dict())
        if waited >= spec.patience:
            if cuts == RATE_CUTS:
                break
            waited, cuts = 0, cuts + 1
            for group in optimizer.param_groups:
                group["lr"] *= CUT
    else:
        cuts = -1
    network.load_state_dict(best_state)
    return network, Fit(accuracies, losses, best_epoch, cuts < 0, time.perf_counter() - start)


def _epoch(network, optimizer, train: tuple[Tensor, Tensor], batch_size: int, fabric: Fabric, order) -> float:
    """One pass over the training images in a new order; the mean loss. Devices take turns in a batch."""
    images, labels = train
    network.train()
    total = torch.zeros((), device=images.device)
    permutation = torch.randperm(len(images), generator=order).to(images.device)
    batches = permutation.split(batch_size)
    if len(batches) > 1 and len(batches[-1]) < batch_size // 2:
        batches = batches[:-1]  # batch norm is poor on a small rest, which another order holds next time
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
    """Accuracy and mean cross-entropy on images and labels."""
    network.eval()
    right, loss = 0, 0.0
    for images, labels in zip(pair[0].split(EVALUATION_BATCH), pair[1].split(EVALUATION_BATCH)):
        logits = network(images).float()
        right += (logits.argmax(1) == labels).sum().item()
        loss += F.cross_entropy(logits, labels, reduction="sum").item()
    return right / len(pair[1]), loss / len(pair[1])
