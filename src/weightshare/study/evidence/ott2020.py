"""Ott et al. 2020: shifted training images, with and without shared weights."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ... import nn as shared
from ...sharing import Full, Local, Sharing
from .base import Experiment, Finding, Plot, Record, compare_order, make_series, measure
from .image_networks import draw_subset
from .images import Images, load_images
from .training import measure_accuracy, shift_randomly, train

#: Largest shifts of the training images, as a fraction of their side.
AMOUNTS = (0.0, 0.125, 0.25)
TEST_AMOUNT = 0.25
#: Empty margin around the images, as a fraction of their side: no shift cuts anything off.
MARGIN = 0.25
TRAIN_IMAGES = 1000
WIDTHS = (8, 16, 16)
TRAINING: dict[str, Any] = {"epochs": 40, "batch_size": 64, "learning_rate": 4e-3}
NETWORKS: dict[str, Sharing] = {"full": Full(), "local": Local()}
#: Published accuracies on MNIST, as far as the amount of shifts is the same.
PUBLISHED = {
    ("full", 0.0, "plain"): "99.05",
    ("local", 0.0, "plain"): "98.81",
    ("full", 0.0, "shifted"): "36.65",
    ("local", 0.0, "shifted"): "37.23",
}
NOT_COMPARED = "The published figure is for MNIST with more training images."
#: Kernels of positions this far apart are compared, from next neighbors to the far end of a small image.
DISTANCES = (1, 2, 4)


class _Network(nn.Module):
    """Three convolutions with stride 1, 2 and 2, ReLU, and a dense layer on all positions."""

    def __init__(self, images: Images, sharing: Sharing):
        super().__init__()
        _, channels, *size = images.train[0].shape
        self.layers = nn.Sequential()
        for width, stride in zip(WIDTHS, (1, 2, 2)):
            layer = shared.Conv2d(channels, width, 3, stride, 1, sharing=sharing, input_size=tuple(size))
            self.layers.extend([layer, nn.ReLU()])
            assert layer.output_size is not None  # the input size is given
            channels, size = width, list(layer.output_size)
        self.head = nn.Linear(channels * prod(size), images.classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(x).flatten(1))

    def get_kernels(self) -> Tensor:
        """Return a copy of the kernels of the first layer [H, W, values], or [1, 1, values]."""
        layer = self.layers[0]
        assert isinstance(layer, shared.Conv2d)
        assert layer.output_size is not None
        kernels = layer.kernels().detach().flatten(1).clone()
        return kernels.unflatten(0, layer.output_size if len(kernels) > 1 else (1, 1))


def add_margin(images: Images) -> Images:
    """Return the images in an empty frame of `MARGIN`."""
    rows, columns = get_shift(MARGIN, images.train[0].shape[-2:])
    pads = [columns, columns, rows, rows]
    (x, y), (x_test, y_test) = images.train, images.test
    return replace(images, train=(F.pad(x, pads), y), test=(F.pad(x_test, pads), y_test))


def get_shift(amount: float, size: Sequence[int]) -> tuple[int, int]:
    """Return a fraction of the height and of the width in pixels."""
    return round(amount * size[0]), round(amount * size[1])


@torch.no_grad()
def measure_distance(kernels: Tensor, step: int) -> float:
    """Return how much kernels of positions `step` apart along an axis differ: 0 if equal, 1 if unrelated.

    It is the mean of |v - w|^2 over the mean of |v|^2 + |w|^2.

    Shape:
        kernels [H, W, values]

    Example:
        >>> measure_distance(torch.ones(4, 4, 9), 1)
        0.0
    """
    pairs = ((kernels[step:], kernels[:-step]), (kernels[:, step:], kernels[:, :-step]))
    differences = sum(float((a - b).square().sum()) for a, b in pairs)
    energies = sum(float(a.square().sum() + b.square().sum()) for a, b in pairs)
    return differences / energies


def run_seed(data: str, seed: int) -> Record:
    """Return the accuracies in percent, and the distances of kernels, of each network at each amount."""
    plain = load_images(data)
    images, size = add_margin(plain), plain.test[0].shape[-2:]
    generator = torch.Generator().manual_seed(10**6 + seed)
    shifted = shift_randomly(images.test[0], get_shift(TEST_AMOUNT, size), generator)
    subset = draw_subset(images.train, TRAIN_IMAGES, seed)

    def measure_at(name: str, amount: float) -> Record:
        torch.manual_seed(seed)
        network, most = _Network(images, NETWORKS[name]), get_shift(amount, size)
        before = network.get_kernels()
        augment = partial(_shift, most=most)
        train(network, *subset, seed=seed, augment=augment, **TRAINING)
        record: Record = {
            "plain": measure_accuracy(network, *images.test),
            "shifted": measure_accuracy(network, shifted, images.test[1]),
        }
        if name == "local":
            after = network.get_kernels()
            record["kernels"] = [measure_distance(after, step) for step in DISTANCES]
            record["changes"] = [measure_distance(after - before, step) for step in DISTANCES]
        return record

    return {name: [measure_at(name, amount) for amount in AMOUNTS] for name in NETWORKS}


def _shift(images: Tensor, generator: torch.Generator, most: tuple[int, int]) -> Tensor:
    return shift_randomly(images, most, generator)


def judge(records: Sequence[Record]) -> list[Finding]:
    """Compare the effect of shifted training images on both networks, and how alike kernels are."""

    def collect(name: str, amount: float, key: str) -> list[Any]:
        return [r[name][AMOUNTS.index(amount)][key] for r in records]

    findings = [
        measure(
            f"{name}, shifts up to {amount:g}: test accuracy, {key} images (%)",
            collect(name, amount, key),
            PUBLISHED.get((name, amount, key)),
            NOT_COMPARED if (name, amount, key) in PUBLISHED else "",
        )
        for key in ("plain", "shifted")
        for amount in AMOUNTS
        for name in NETWORKS
    ]
    for name in NETWORKS:
        plain, shifted = (collect(name, 0.0, key) for key in ("plain", "shifted"))
        quantity, claim = f"{name}, no shifts: plain - shifted images (points)", "plain > shifted"
        findings.append(compare_order(quantity, claim, plain, shifted))
    most = AMOUNTS[-1]
    for key in ("plain", "shifted"):
        for amount in (0.0, most):
            full, local = (collect(name, amount, key) for name in ("full", "local"))
            quantity = f"full - local, shifts up to {amount:g}, {key} images (points)"
            findings.append(compare_order(quantity, "full > local", full, local))
    gains = {
        name: [a - b for a, b in zip(collect(name, most, "shifted"), collect(name, 0.0, "shifted"))]
        for name in NETWORKS
    }
    quantity = f"gain on shifted images by shifts up to {most:g}: full - local (points)"
    findings.append(compare_order(quantity, "full gains more", gains["full"], gains["local"]))
    for key, what in (("kernels", "kernels"), ("changes", "changes of the kernels in training")):
        none, much = ([one[0] for one in collect("local", amount, key)] for amount in (0.0, most))
        quantity = f"distance of neighboring {what}: without shifts - with shifts up to {most:g}"
        findings.append(compare_order(quantity, "kernels grow alike with shifts", none, much, digits=3))
    return findings


def plot(records: Sequence[Record]) -> list[Plot]:
    """Return the accuracy on shifted images, and the distance of kernels, against the amount of shifts."""

    def collect(name: str, key: str) -> list[list[Any]]:
        return [[r[name][i][key] for r in records] for i in range(len(AMOUNTS))]

    accuracy = tuple(
        make_series(name, color, AMOUNTS, collect(name, "shifted")) for color, name in enumerate(NETWORKS)
    )
    distances = tuple(
        make_series(
            f"{step} apart", color, AMOUNTS, [[one[color] for one in r] for r in collect("local", "changes")]
        )
        for color, step in enumerate(DISTANCES)
    )
    label = "largest shift in training (fraction of the side)"
    return [
        Plot("Accuracy on shifted test images", label, "test accuracy (%)", accuracy),
        Plot("Distance between the changes of kernels of two positions", label, "distance", distances),
    ]


EXPERIMENT = Experiment(
    name="ott2020",
    title="To share or not to share (Ott et al. 2020)",
    question="Does a network with shared weights profit more from shifted training images, and do unshared "
    "kernels grow alike?",
    source="Ott, Linstead, LaHaye, Baldi 2020, Learning in the machine: to share or not to share? "
    "Neural Networks 126, tables of validation accuracy on MNIST and on translated MNIST",
    seeds=4,
    settings={
        "networks": f"3 convolutions of {WIDTHS} channels with stride 1, 2, 2 and ReLU, dense output",
        "training images": TRAIN_IMAGES,
        "largest shifts, as fractions of the side": AMOUNTS,
        "largest shift of shifted test images": TEST_AMOUNT,
        "margin around the images": MARGIN,
        **TRAINING,
    },
    run_seed=run_seed,
    judge=judge,
    plot=plot,
)
