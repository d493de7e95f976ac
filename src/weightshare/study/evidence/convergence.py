"""Convergence: epochs, steps and seconds to a target accuracy, from full sharing to dense layers."""

import time
from collections.abc import Sequence
from math import ceil
from statistics import fmean

import torch
from torch import Tensor, nn

from ... import nn as shared
from ...sharing import Full, Local, LowRank, Sharing
from ...views.pictures import Series
from .base import Experiment, Finding, Plot, Record, make_series, measure
from .images import load_images
from .training import measure_accuracy, train

SIZE, TRAIN, TEST = 8, 2000, 2000
MAPS = (8, 16)
SHARINGS: dict[str, Sharing | None] = {
    "full": Full(),
    "lowrank:4": LowRank(4),
    "local": Local(),
    "dense": None,
}
TARGETS = (90, 95, 97)
EPOCHS, BATCH = 60, 32
LEARNING_RATES = (1e-3, 3e-3, 1e-2)

Pair = tuple[Tensor, Tensor]
Run = dict[str, list[float]]


def build(sharing: Sharing | None, classes: int) -> nn.Sequential:
    """Return a network with two hidden layers, convolutions or dense layers with as many units."""
    first, second = MAPS
    half = SIZE // 2
    if sharing is None:
        hidden = [
            nn.Flatten(),
            nn.Linear(SIZE * SIZE, first * SIZE * SIZE),
            nn.ReLU(),
            nn.Linear(first * SIZE * SIZE, second * half * half),
            nn.ReLU(),
        ]
    else:
        hidden = [
            shared.Conv2d(1, first, 3, padding=1, sharing=sharing, input_size=SIZE),
            nn.ReLU(),
            shared.Conv2d(first, second, 3, stride=2, padding=1, sharing=sharing, input_size=SIZE),
            nn.ReLU(),
            nn.Flatten(),
        ]
    return nn.Sequential(*hidden, nn.Linear(second * half * half, classes))


def run_seed(data: str, seed: int) -> Record:
    """Train every network with every learning rate, and return what `train_to_target` does."""
    images = load_images(data, SIZE)
    train_pair, test_pair = (
        (inputs[:count].mean(1, keepdim=True), labels[:count])
        for (inputs, labels), count in ((images.train, TRAIN), (images.test, TEST))
    )
    record: Record = {"steps_per_epoch": ceil(len(train_pair[0]) / BATCH)}
    for name, sharing in SHARINGS.items():
        record[name] = {}
        for rate in LEARNING_RATES:
            torch.manual_seed(seed)
            network = build(sharing, images.classes)
            record[name][str(rate)] = train_to_target(network, train_pair, test_pair, rate, seed)
    return record


def train_to_target(
    network: nn.Module, train_pair: Pair, test_pair: Pair, rate: float, seed: int
) -> dict[str, list[float]]:
    """Train until the highest target, and return the test accuracy in percent and the time by epoch."""
    accuracies: list[float] = []
    seconds: list[float] = []
    begin = time.perf_counter()

    def evaluate(epoch: int) -> bool:
        seconds.append(time.perf_counter() - begin)
        accuracies.append(measure_accuracy(network, *test_pair))
        return accuracies[-1] >= TARGETS[-1]

    train(
        network,
        *train_pair,
        seed=seed,
        epochs=EPOCHS,
        batch_size=BATCH,
        learning_rate=rate,
        decays=False,
        stop=evaluate,
    )
    return {"accuracies": accuracies, "seconds": seconds}


def find_epoch(accuracies: Sequence[float], target: float) -> int:
    """Return the first epoch, counted from 1, at which the target is reached, or the last one."""
    return next((i for i, value in enumerate(accuracies, 1) if value >= target), len(accuracies))


def choose_runs(records: Sequence[Record], name: str) -> tuple[str, list[Run]]:
    """Return the learning rate with which a network needs the fewest epochs, and its runs by seed."""

    def count_epochs(rate: str) -> float:
        return fmean(find_epoch(record[name][rate]["accuracies"], TARGETS[-1]) for record in records)

    best = min(map(str, LEARNING_RATES), key=count_epochs)
    return best, [record[name][best] for record in records]


def judge(records: Sequence[Record]) -> list[Finding]:
    """Return epochs, steps and seconds to the highest target, and the differences from full sharing."""
    target = TARGETS[-1]
    chosen = {name: choose_runs(records, name) for name in SHARINGS}
    epochs = {name: _find_epochs(runs, target) for name, (_, runs) in chosen.items()}
    findings: list[Finding] = []
    for name, (rate, runs) in chosen.items():
        missed = sum(max(run["accuracies"]) < target for run in runs)
        note = f"Learning rate {rate}."
        if missed:
            note += f" {missed} of {len(runs)} seeds did not reach it in {EPOCHS} epochs."
        findings.append(measure(f"{name}: epochs to {target}% test accuracy", epochs[name], note=note))
    for name in SHARINGS:
        steps = [record["steps_per_epoch"] * count for record, count in zip(records, epochs[name])]
        findings.append(measure(f"{name}: steps to {target}%", steps, digits=0))
    for name, (_, runs) in chosen.items():
        seconds = [run["seconds"][count - 1] for run, count in zip(runs, epochs[name])]
        findings.append(measure(f"{name}: seconds to {target}%", seconds, digits=2))
    for name in list(SHARINGS)[1:]:
        differences = [a - b for a, b in zip(epochs[name], epochs["full"])]
        findings.append(measure(f"{name} minus full: epochs to {target}%", differences))
    return findings


def _find_epochs(runs: Sequence[Run], target: float) -> list[int]:
    return [find_epoch(run["accuracies"], target) for run in runs]


def plot(records: Sequence[Record]) -> list[Plot]:
    """Return the epochs of each network by target."""
    series: list[Series] = []
    for color, name in enumerate(SHARINGS):
        runs = choose_runs(records, name)[1]
        values = [_find_epochs(runs, target) for target in TARGETS]
        series.append(make_series(name, color, TARGETS, values))
    return [Plot("Epochs to a target", "target: test accuracy (%)", "epochs", tuple(series))]


EXPERIMENT = Experiment(
    name="convergence",
    title="Convergence",
    question="After how many epochs does a network reach a target accuracy, with more and less sharing?",
    source="No published factor was found, so none is compared.",
    seeds=10,
    settings={
        "images": f"at most {TRAIN:,} for training and {TEST:,} for testing, {SIZE} x {SIZE} pixels",
        "networks": f"two 3 x 3 convolutions with {MAPS[0]} and {MAPS[1]} maps, the second with stride 2, "
        "and a linear head; dense: linear layers with as many units",
        "training": f"Adam, batches of {BATCH}, up to {EPOCHS} epochs; of the learning rates "
        f"{', '.join(map(str, LEARNING_RATES))}, the one with the fewest epochs for each network",
        "targets": f"test accuracies of {', '.join(map(str, TARGETS))}%",
    },
    run_seed=run_seed,
    judge=judge,
    plot=plot,
)
