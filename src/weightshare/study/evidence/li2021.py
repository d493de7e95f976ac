"""Li, Zhang and Arora 2021: convolutions need O(1) examples where dense networks need at least d^2."""

from collections.abc import Sequence
from math import log, log2
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ... import nn as shared
from ...sharing import Full, Local, Sharing
from ..statistics.intervals import compute_interval
from .base import Experiment, Finding, Plot, Record, compare_order, make_series, measure
from .sample_counts import descend, find_size, make_dense, measure_curve, measure_sign_accuracy, measure_sizes

DIMENSIONS = (10, 16, 24, 34)
#: Powers of 2 of the smallest and the largest number of training examples.
FIRST_POWERS = {"convolution": 2, "locally connected": 4, "dense": 6}
LAST_POWER = 13
#: Small training sets are drawn again until all draws have this many examples, and accuracies are averaged.
LEAST_DRAWN = 64
TARGET = 0.9
TEST_EXAMPLES = 2000
CHANNELS = 8
TRAINING: dict[str, Any] = {"steps": 300, "learning_rate": 0.3}
#: Largest distance of an interval from the published exponent.
MARGIN = 0.5
NETWORKS: dict[str, Sharing | None] = {"convolution": Full(), "locally connected": Local(), "dense": None}


class _Network(nn.Module):
    """A linear layer, squares, mean over positions unless dense, and a linear output.

    Shape:
        [N, 2, d/2] -> [N]
    """

    def __init__(self, name: str, dimension: int):
        super().__init__()
        sharing = NETWORKS[name]
        self.is_dense = sharing is None
        self.first = (
            make_dense(dimension, 2 * dimension, bias=False)
            if sharing is None
            else shared.Conv1d(2, CHANNELS, 1, bias=False, sharing=sharing, input_size=dimension // 2)
        )
        self.last = nn.Linear(2 * dimension if self.is_dense else CHANNELS, 1)

    def forward(self, x: Tensor) -> Tensor:
        if self.is_dense:
            return self.last(self.first(x.flatten(1)).square())[:, 0]
        return self.last(self.first(x).square().mean(2))[:, 0]


def draw_examples(count: int, dimension: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return normal inputs [N, 2, d/2], and labels [N]: whether the first channel has the larger norm."""
    x = torch.randn(count, 2, dimension // 2, generator=generator)
    energy = x.square().sum(2)
    return x, (energy[:, 0] - energy[:, 1]).sign()


def _count_examples(name: str, dimension: int, seed: int) -> float:
    """Return the number of training examples with which a network reaches the target."""
    test = draw_examples(TEST_EXAMPLES, dimension, torch.Generator().manual_seed(10**6 + seed))

    def get_accuracy(size: int) -> float:
        generator, draws = torch.Generator().manual_seed(seed), max(1, LEAST_DRAWN // size)
        torch.manual_seed(seed)
        total = 0.0
        for _ in range(draws):
            network = _Network(name, dimension)
            descend(network, *draw_examples(size, dimension, generator), **TRAINING)
            total += measure_sign_accuracy(network, *test)
        return total / draws

    sizes = [2**power for power in range(FIRST_POWERS[name], LAST_POWER + 1)]
    return find_size(measure_curve(get_accuracy, sizes, TARGET), TARGET)


def run_seed(data: str, seed: int) -> Record:
    """Return the number of examples of each network at each dimension."""
    return {name: [_count_examples(name, d, seed) for d in DIMENSIONS] for name in NETWORKS}


def _fit_exponent(counts: Sequence[float]) -> float:
    """Return the slope of log n against log d."""
    return float(np.polyfit([log(d) for d in DIMENSIONS], [log(n) for n in counts], 1)[0])


def _compare_exponent(name: str, published: str, expected: float, values: Sequence[float]) -> Finding:
    interval = compute_interval(values)
    agrees = interval is not None and expected - MARGIN <= interval[0] <= interval[1] <= expected + MARGIN
    note = f"It agrees if the interval is within {MARGIN} of {expected:g}."
    quantity = f"{name}: exponent of d in the number of examples"
    return Finding(quantity, published, float(np.mean(values)), interval, agrees, note, digits=2)


def judge(records: Sequence[Record]) -> list[Finding]:
    """Compare the exponents with the published ones."""
    exponents = {name: [_fit_exponent(r[name]) for r in records] for name in NETWORKS}
    last = {name: [r[name][-1] for r in records] for name in NETWORKS}
    counts = (
        measure_sizes(f"{name}: examples for 90% at d = {DIMENSIONS[-1]}", last[name], 2**LAST_POWER)
        for name in NETWORKS
    )
    return [
        _compare_exponent("convolution", "O(1): exponent 0", 0, exponents["convolution"]),
        measure(
            "locally connected: exponent of d in the number of examples",
            exponents["locally connected"],
            note="The paper has no such network.",
            digits=2,
        ),
        _compare_exponent("dense", "at least d^2: exponent 2", 2, exponents["dense"]),
        compare_order(
            "exponent of the dense network - exponent of the convolution",
            "dense > convolution",
            exponents["dense"],
            exponents["convolution"],
            digits=2,
        ),
        *counts,
    ]


def plot(records: Sequence[Record]) -> list[Plot]:
    """Return the number of examples against the dimension."""
    x = [log2(d) for d in DIMENSIONS]
    series = tuple(
        make_series(name, color, x, [[log2(r[name][i]) for r in records] for i in range(len(x))])
        for color, name in enumerate(NETWORKS)
    )
    return [Plot("Examples for 90% accuracy", "log2 of the dimension d", "log2 of the examples", series)]


EXPERIMENT = Experiment(
    name="li2021",
    title="Examples that a convolution and a dense network need (Li, Zhang, Arora 2021)",
    question="How does the number of training examples for 90% accuracy grow with the dimension d?",
    source="Li, Zhang, Arora 2021, Why are convolutional nets more sample-efficient than fully-connected "
    "nets? ICLR, abstract",
    seeds=5,
    settings={
        "task": "which of two channels of normal noise has the larger norm",
        "networks": "linear layer, squares, linear output; mean over positions unless dense",
        "dimensions": DIMENSIONS,
        "training": "gradient descent with momentum on all examples, clipped to norm 1",
        **TRAINING,
        "small training sets": f"drawn again until they have {LEAST_DRAWN} examples in total; accuracies are "
        "averaged",
        "test examples": TEST_EXAMPLES,
    },
    run_seed=run_seed,
    judge=judge,
    plot=plot,
    data="normal noise, drawn again for each seed",
)
