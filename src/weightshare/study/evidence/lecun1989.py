"""LeCun's five networks of 1989: links, weights and accuracy as more and more weights are shared."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from statistics import fmean

import torch
from torch import Tensor
from torch.nn import functional as F

from ... import nn
from ...ledger import summary
from ...models.lecun1989 import BACKGROUND, digit_network
from .base import Experiment, Finding, Record, compare_counts, compare_order, measure_percent
from .images import load_images
from .training import shift_randomly

NETS = {
    1: "Net-1 (no hidden layer)",
    2: "Net-2 (dense)",
    3: "Net-3 (local)",
    4: "Net-4 (partly shared)",
    5: "Net-5 (shared)",
}
LINKS = {1: 2570, 2: 3214, 3: 1226, 4: 2266, 5: 5194}
WEIGHTS = {1: 2570, 2: 3214, 3: 1226, 4: 1132, 5: 1060}
ACCURACY = {1: 80.0, 2: 87.0, 3: 88.5, 4: 94.0, 5: 98.4}
SIZE, TRAIN, TEST, CLASSES = 16, 320, 160, 10
REDRAWS, SHIFT, EPOCHS, BATCH, LEARNING_RATE = 10, 2, 100, 32, 0.1


def run_seed(data: str, seed: int) -> Record:
    """Draw training and test sets, train all networks on each of them, and return accuracies in percent."""
    inputs, labels = draw_sets(data, seed)
    return {str(number): train_copies(number, inputs, labels, seed) for number in NETS}


def draw_sets(data: str, seed: int) -> tuple[Tensor, Tensor]:
    """Return images [TRAIN + TEST, REDRAWS, 16, 16] between -1 and 1, shifted at random, and their labels.

    The images of one redraw differ from each other.
    """
    images = load_images(data, SIZE, needed=TRAIN + TEST, most_classes=CLASSES)
    x, y = (torch.cat(parts) for parts in zip(images.train, images.test))
    generator = torch.Generator().manual_seed(seed)
    count = TRAIN + TEST
    drawn = torch.stack([torch.randperm(len(x), generator=generator)[:count] for _ in range(REDRAWS)], 1)
    shifted = shift_randomly(x[drawn.flatten()].mean(1, keepdim=True), (0, SHIFT), generator)
    return shifted.view(count, REDRAWS, SIZE, SIZE) * (1 - BACKGROUND) + BACKGROUND, y[drawn]


def train_copies(number: int, inputs: Tensor, labels: Tensor, seed: int) -> dict[str, list[float]]:
    """Train one copy of a network for each redraw, all at once, and return their accuracies in percent."""
    torch.manual_seed(seed)
    network = digit_network(number, REDRAWS)
    layers = [layer for layer in network if isinstance(layer, nn.Conv2d)]
    groups = [{"params": list(layer.parameters()), "lr": choose_learning_rate(layer)} for layer in layers]
    optimizer = torch.optim.Adam(groups)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    targets = 2 * F.one_hot(labels, CLASSES).float() - 1
    generator = torch.Generator().manual_seed(seed)
    for _ in range(EPOCHS):
        for batch in torch.randperm(TRAIN, generator=generator).split(BATCH):
            optimizer.zero_grad()
            outputs = network(inputs[batch]).view(len(batch), REDRAWS, CLASSES)
            (outputs - targets[batch]).square().mean((0, 2)).sum().backward()
            optimizer.step()
        schedule.step()
    with torch.no_grad():
        outputs = network(inputs).view(TRAIN + TEST, REDRAWS, CLASSES)
    correct = 100 * (outputs.argmax(2) == labels).double()
    return {"train": correct[:TRAIN].mean(0).tolist(), "test": correct[TRAIN:].mean(0).tolist()}


def choose_learning_rate(layer: nn.Conv2d) -> float:
    """Return a learning rate that falls with the square root of the number of inputs of a unit."""
    return LEARNING_RATE / (layer.in_channels // layer.groups * prod(layer.kernel_size)) ** 0.5


def judge(records: Sequence[Record]) -> list[Finding]:
    """Return the counts, the accuracies, and the order of the networks."""
    findings: list[Finding] = []
    for number, name in NETS.items():
        totals = summary(digit_network(number), torch.zeros(1, 1, SIZE, SIZE)).totals
        findings.append(compare_counts(f"{name}: links", LINKS[number], totals.unshared or 0))
        findings.append(compare_counts(f"{name}: weights", WEIGHTS[number], totals.unique))
    test, train = ({n: _collect(records, n, part) for n in NETS} for part in ("test", "train"))
    lowest = min(map(fmean, train.values()))
    findings.append(
        Finding(
            "lowest training accuracy of the five networks (%)",
            "100 (all)",
            lowest,
            None,
            lowest == 100,
            ""
            if lowest == 100
            else f"In some redraws, some training images are still misclassified after {EPOCHS} epochs.",
        )
    )
    note = "The images differ, so only the order is compared."
    accuracies = {
        n: measure_percent(f"{NETS[n]}: test accuracy (%)", test[n], f"{ACCURACY[n]:.1f}", note) for n in NETS
    }
    findings += accuracies.values()
    for less, more in pairwise(NETS):
        findings.append(
            compare_order(
                f"Net-{more} minus Net-{less}: test accuracy (points)",
                f"> 0 ({ACCURACY[more]:.1f} and {ACCURACY[less]:.1f})",
                test[more],
                test[less],
            )
        )
    return findings


def _collect(records: Sequence[Record], number: int, part: str) -> list[float]:
    return [value for record in records for value in record[str(number)][part]]


EXPERIMENT = Experiment(
    name="lecun1989",
    title="LeCun's five networks of 1989",
    question=(
        "Five networks learn to read digits from 320 images. Do those that share more weights generalize "
        "better, although all of them fit the training set?"
    ),
    source=(
        "LeCun 1989, Generalization and network design strategies; figures from Hastie, Tibshirani and "
        "Friedman, The Elements of Statistical Learning, section 11.7, table 11.1"
    ),
    seeds=5,
    settings={
        "images": f"{TRAIN} for training and {TEST} for testing, drawn again {REDRAWS} times per seed, "
        f"{SIZE} x {SIZE} pixels, shifted horizontally by up to {SHIFT} pixels",
        "units": "1.7159 tanh(2 x / 3), squared error, targets -1 and 1",
        "training": f"Adam, {EPOCHS} epochs, batches of {BATCH}, learning rate {LEARNING_RATE} / "
        "sqrt(inputs of a unit), falling to 0 along a cosine",
    },
    run_seed=run_seed,
    judge=judge,
)
