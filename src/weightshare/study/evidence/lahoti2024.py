"""Lahoti et al. 2024: the number of examples that networks need to find a signal in one of k patches."""

from collections.abc import Sequence
from math import log2
from statistics import NormalDist
from typing import Any

import torch
from torch import Tensor, nn

from ... import nn as shared
from ...sharing import Full, Local, Sharing
from .base import Experiment, Finding, Plot, Record, compare_order, make_series
from .sample_counts import (
    Curve,
    descend,
    find_size,
    make_dense,
    measure_curve,
    measure_sign_accuracy,
    measure_sizes,
)

PATCHES = 8
PATCH_SIZE = 16
NOISE = 0.3
SIZES = tuple(2**power for power in range(2, 15))
TARGETS = (0.8, 0.9)
TEST_EXAMPLES = 4000
CHANNELS = 4
TRAINING: dict[str, Any] = {"steps": 300, "learning_rate": 0.3}
NETWORKS: dict[str, Sharing | None] = {"convolution": Full(), "locally connected": Local(), "dense": None}
#: Accuracy of the best linear rule, which is the signal in every patch.
LINEAR = NormalDist().cdf(1 / (NOISE * PATCHES**0.5))
NOTES = {
    0.8: f"The published order holds for small errors. A linear rule reaches {LINEAR:.0%} without finding "
    "the patch.",
    0.9: "",
}
FEWER_EXAMPLES = (("convolution", "locally connected"), ("locally connected", "dense"))


class _Network(nn.Module):
    """A linear layer on patches or on all, ReLU, sum over patches unless dense, and a linear output."""

    def __init__(self, name: str):
        super().__init__()
        sharing, length = NETWORKS[name], PATCHES * PATCH_SIZE
        self.is_dense = sharing is None
        self.first = (
            make_dense(length, PATCHES * CHANNELS)
            if sharing is None
            else shared.Conv1d(1, CHANNELS, PATCH_SIZE, PATCH_SIZE, sharing=sharing, input_size=length)
        )
        self.last = nn.Linear(PATCHES * CHANNELS if self.is_dense else CHANNELS, 1)

    def forward(self, x: Tensor) -> Tensor:
        if self.is_dense:
            return self.last(self.first(x).relu())[:, 0]
        return self.last(self.first(x[:, None]).relu().sum(2))[:, 0]


def draw_examples(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return inputs [N, k d] and labels [N].

    Each input is normal noise. In one patch, drawn at random, there is also the signal, a vector of norm 1,
    times the label -1 or 1.
    """
    x = NOISE * torch.randn(count, PATCHES, PATCH_SIZE, generator=generator)
    labels = 2.0 * torch.randint(2, (count,), generator=generator) - 1
    patch = torch.randint(PATCHES, (count,), generator=generator)
    x[torch.arange(count), patch] += labels[:, None] / PATCH_SIZE**0.5
    return x.flatten(1), labels


def _measure(name: str, seed: int) -> Curve:
    """Return the learning curve of a network, up to the higher target."""
    test = draw_examples(TEST_EXAMPLES, torch.Generator().manual_seed(10**6 + seed))

    def get_accuracy(size: int) -> float:
        torch.manual_seed(seed)
        network = _Network(name)
        descend(network, *draw_examples(size, torch.Generator().manual_seed(seed)), **TRAINING)
        return measure_sign_accuracy(network, *test)

    return measure_curve(get_accuracy, SIZES, TARGETS[-1])


def run_seed(data: str, seed: int) -> Record:
    """Return the learning curve of each network."""
    return {name: _measure(name, seed) for name in NETWORKS}


def judge(records: Sequence[Record]) -> list[Finding]:
    """Compare the order of the numbers of examples with the published one."""
    findings: list[Finding] = []
    for target in TARGETS:
        counts = {name: [find_size(r[name], target) for r in records] for name in NETWORKS}
        findings += [
            measure_sizes(f"{name}: examples for {target:.0%}", counts[name], SIZES[-1]) for name in NETWORKS
        ]
        findings += [
            compare_order(
                f"examples for {target:.0%}, log2({more} / {fewer})",
                f"{fewer} < {more}",
                [log2(n) for n in counts[more]],
                [log2(n) for n in counts[fewer]],
                NOTES[target],
                digits=2,
            )
            for fewer, more in FEWER_EXAMPLES
        ]
    return findings


def plot(records: Sequence[Record]) -> list[Plot]:
    """Return the learning curves, as far as all seeds were trained."""
    series = []
    for color, name in enumerate(NETWORKS):
        sizes = SIZES[: min(len(r[name]) for r in records)]
        values = [[100 * r[name][i][1] for r in records] for i in range(len(sizes))]
        series.append(make_series(name, color, [log2(n) for n in sizes], values))
    label = "log2 of the training examples"
    return [Plot("Learning curves", label, "test accuracy (%)", tuple(series), is_percent=True)]


EXPERIMENT = Experiment(
    name="lahoti2024",
    title="A signal in one of many patches (Lahoti et al. 2024)",
    question="How many training examples do a convolution, a locally connected and a dense network need?",
    source="Lahoti, Karp, Winston, Singh, Li 2024, Role of locality and weight sharing in image-based tasks, "
    "ICLR, abstract: up to logarithms, a convolution needs O(k + d) examples, a locally connected network "
    "between Omega(k d) and O(k (k + d)), and a dense one Omega(k^2 d)",
    seeds=6,
    settings={
        "patches k": PATCHES,
        "patch size d": PATCH_SIZE,
        "standard deviation of the noise": NOISE,
        "networks": f"{CHANNELS} units per patch, ReLU, sum over patches unless dense, linear output",
        "training": "gradient descent with momentum on all examples, clipped to norm 1",
        **TRAINING,
        "test examples": TEST_EXAMPLES,
    },
    run_seed=run_seed,
    judge=judge,
    plot=plot,
    data="signals in normal noise, drawn again for each seed",
)
