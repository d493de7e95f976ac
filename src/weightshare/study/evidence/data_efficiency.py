"""Learning curves on images: accuracy against the number of training images, for different sharings."""

from collections.abc import Sequence
from math import ceil, log10
from typing import Any

import torch

from .base import Experiment, Finding, Plot, Record, compare_order, make_series, measure_percent
from .image_networks import DESCRIPTION, NETWORKS, draw_subset, make_network
from .images import load_images
from .training import measure_accuracy, train

SIZES = (100, 300, 1000)
STEPS = 250
BATCH_SIZE = 32
LEARNING_RATE = 4e-3
#: Claims: the first network has the higher accuracy.
CLAIMS = (("full", "local"), ("full", "dense"), ("local", "dense"), ("lowrank:4", "full"))


def run_seed(data: str, seed: int) -> Record:
    """Return the test accuracy of each network at each size, in percent."""
    images = load_images(data)

    def get_accuracy(name: str, size: int) -> float:
        torch.manual_seed(seed)
        network = make_network(name, images)
        epochs = ceil(STEPS / ceil(size / BATCH_SIZE))
        options: dict[str, Any] = {"batch_size": BATCH_SIZE, "learning_rate": LEARNING_RATE}
        train(network, *draw_subset(images, size, seed), seed=seed, epochs=epochs, **options)
        return measure_accuracy(network, *images.test)

    return {name: [get_accuracy(name, size) for size in SIZES] for name in NETWORKS}


def judge(records: Sequence[Record]) -> list[Finding]:
    """Compare the networks at each size."""
    findings: list[Finding] = []
    for i, size in enumerate(SIZES):
        values = {name: [r[name][i] for r in records] for name in NETWORKS}
        findings += [
            measure_percent(f"{size:,} images, {name}: test accuracy (%)", v) for name, v in values.items()
        ]
        findings += [
            compare_order(
                f"{size:,} images, {more} - {less} (points)",
                f"expected: {more} > {less}",
                values[more],
                values[less],
                digits=2,
            )
            for more, less in CLAIMS
        ]
    return findings


def plot(records: Sequence[Record]) -> list[Plot]:
    """Return the learning curves."""
    x = [log10(size) for size in SIZES]
    series = tuple(
        make_series(name, color, x, [[r[name][i] for r in records] for i in range(len(SIZES))])
        for color, name in enumerate(NETWORKS)
    )
    label = "log10 of the training images"
    return [Plot("Learning curves", label, "test accuracy (%)", series, is_percent=True)]


EXPERIMENT = Experiment(
    name="data-efficiency",
    title="Accuracy with few training images",
    question="Do networks that share more weights need fewer training images?",
    source="None. These are the usual claims about weight sharing.",
    seeds=8,
    settings={
        "networks": DESCRIPTION,
        "training images": SIZES,
        "training": f"Adam, {STEPS} steps of {BATCH_SIZE} images, initial learning rate {LEARNING_RATE}",
    },
    run_seed=run_seed,
    judge=judge,
    plot=plot,
)
