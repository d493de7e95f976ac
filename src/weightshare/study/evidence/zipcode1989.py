"""LeCun's zip-code network of 1989 and the same network without sharing."""

from collections.abc import Sequence

import torch
from torch import nn

from ...convert import relax
from ...ledger import summary
from ...models.lecun1989 import BACKGROUND, zip_code_network
from ...sharing import Local
from .base import Experiment, Finding, Record, compare_counts, measure, measure_percent
from .images import load_images
from .training import measure_accuracy, shift_all, train

SIZE, TRAIN, TEST = 16, 7291, 2007
EPOCHS, BATCH, LEARNING_RATE = 25, 32, 2e-3
NETWORKS = {"shared": "zip-code network", "unshared": "the same without sharing"}


def run_seed(data: str, seed: int) -> Record:
    """Train both networks, which start as the same function, and return their test errors in percent."""
    images = load_images(data, SIZE, most_classes=10)
    (x, y), (x_test, y_test) = (
        (inputs[:count].mean(1, keepdim=True) * (1 - BACKGROUND) + BACKGROUND, labels[:count])
        for (inputs, labels), count in ((images.train, TRAIN), (images.test, TEST))
    )
    record: Record = {}
    for name, network in build(seed).items():
        train(network, x, y, seed=seed, epochs=EPOCHS, batch_size=BATCH, learning_rate=LEARNING_RATE)
        shifted = [measure_accuracy(network, moved, y_test) for moved in shift_all(x_test, 1, BACKGROUND)]
        record[name] = {
            "error": 100 - measure_accuracy(network, x_test, y_test),
            "train_error": 100 - measure_accuracy(network, x, y),
            "shifted_error": 100 - sum(shifted) / len(shifted),
        }
    return record


def build(seed: int) -> dict[str, nn.Sequential]:
    """Return both networks with the same kernels at each position."""
    torch.manual_seed(seed)
    shared = zip_code_network()
    return {"shared": shared, "unshared": relax(shared, Local(), torch.zeros(1, 1, SIZE, SIZE))}


def judge(records: Sequence[Record]) -> list[Finding]:
    """Return the counts and the errors."""
    networks = build(0)
    totals = summary(networks["shared"], torch.zeros(1, 1, SIZE, SIZE)).totals
    h1 = {
        name: sum(p.numel() for p in network.get_submodule("h1").parameters())
        for name, network in networks.items()
    }
    findings = [
        compare_counts("first layer: weights and biases", 1068, h1["shared"]),
        compare_counts("first layer: connections, including biases", 19968, h1["unshared"]),
        compare_counts("network: weights and biases", 9760, totals.unique),
        compare_counts("network: connections, including biases", 64660, totals.unshared or 0),
    ]
    for key, words in (
        ("error", "test error (%)"),
        ("shifted_error", "test error, images shifted by 1 pixel (%)"),
    ):
        values = {name: [record[name][key] for record in records] for name in NETWORKS}
        for name, title in NETWORKS.items():
            is_published = (name, key) == ("shared", "error")
            findings.append(
                measure_percent(
                    f"{title}: {words}",
                    values[name],
                    "5.0" if is_published else None,
                    "The images differ: those of the zip codes are not available." if is_published else "",
                )
            )
        differences = [a - b for a, b in zip(values["unshared"], values["shared"])]
        findings.append(
            measure(f"without sharing - with sharing: {words.replace('(%)', '(points)')}", differences)
        )
    return findings


EXPERIMENT = Experiment(
    name="zipcode1989",
    title="LeCun's zip-code network of 1989",
    question="What does the network gain from sharing the weights of its two convolutions?",
    source="LeCun et al. 1989, Backpropagation applied to handwritten zip code recognition",
    seeds=5,
    settings={
        "images": f"at most {TRAIN:,} for training and {TEST:,} for testing, {SIZE} x {SIZE} pixels",
        "networks": "start as the same function; linear outputs and cross-entropy",
        "training": f"Adam, {EPOCHS} epochs, batches of {BATCH}, learning rate {LEARNING_RATE}, falling to 0 "
        "along a cosine",
    },
    run_seed=run_seed,
    judge=judge,
)
