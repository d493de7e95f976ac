"""Ott et al. 2020: shifted training images, with and without shared weights."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ...sharing import Full, Local, Sharing
from .base import Experiment, Finding, Plot, Record, compare_order, make_series, measure_percent
from .image_networks import WIDTHS, ImageNetwork, draw_subset
from .images import Images, load_images
from .training import measure_accuracy, shift_randomly, train

#: Largest shifts of the training images, as a fraction of their side with its margin.
AMOUNTS = (0.0, 0.1, 0.2)
TEST_AMOUNT = 0.2
#: Empty margin added on each side of the images, as a fraction of theirs, into which they are shifted.
MARGIN = 0.25
TRAIN_IMAGES = 1000
TRAINING: dict[str, Any] = {"epochs": 40, "batch_size": 64, "learning_rate": 4e-3}
NETWORKS: dict[str, Sharing] = {"full": Full(), "local": Local()}
#: Published accuracies in percent of the shared and the free network on MNIST, by amount and test images.
PUBLISHED = {
    ("plain", 0.0): (99.05, 98.81),
    ("plain", 0.1): (99.31, 99.19),
    ("plain", 0.2): (99.30, 99.04),
    ("shifted", 0.0): (36.65, 37.23),
    ("shifted", 0.1): (83.80, 81.34),
    ("shifted", 0.2): (98.62, 97.70),
}
NOT_COMPARED = "The published figure is for MNIST with more training images."
#: Kernels of positions this far apart are compared, from next neighbors to the far end of a small image.
DISTANCES = (1, 2, 4)


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
    images = add_margin(load_images(data))
    size = images.test[0].shape[-2:]
    generator = torch.Generator().manual_seed(10**6 + seed)
    shifted = shift_randomly(images.test[0], get_shift(TEST_AMOUNT, size), generator)
    subset = draw_subset(images, TRAIN_IMAGES, seed)

    def measure_at(name: str, amount: float) -> Record:
        torch.manual_seed(seed)
        network, most = ImageNetwork(images, NETWORKS[name]), get_shift(amount, size)
        before = network.get_kernels()

        def augment(inputs: Tensor, generator: torch.Generator) -> Tensor:
            return shift_randomly(inputs, most, generator)

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


def judge(records: Sequence[Record]) -> list[Finding]:
    """Compare the effect of shifted training images on both networks, and how alike kernels are."""

    def collect(name: str, amount: float, key: str) -> list[Any]:
        return [r[name][AMOUNTS.index(amount)][key] for r in records]

    findings: list[Finding] = []
    for (key, amount), figures in PUBLISHED.items():
        values = {name: collect(name, amount, key) for name in NETWORKS}
        findings += [
            measure_percent(
                f"{name}, {_name_training(amount)}: test accuracy, {key} images (%)",
                values[name],
                f"{figure:.2f}",
                NOT_COMPARED,
            )
            for name, figure in zip(NETWORKS, figures)
        ]
        (better, high), (worse, low) = sorted(zip(NETWORKS, figures), key=lambda pair: -pair[1])
        findings.append(
            compare_order(
                f"{better} - {worse}, {_name_training(amount)}, {key} images (points)",
                f"{better} > {worse} ({high:.2f} > {low:.2f})",
                values[better],
                values[worse],
            )
        )
    none, most = AMOUNTS[0], AMOUNTS[-1]
    for i, name in enumerate(NETWORKS):
        before, after = (PUBLISHED[key, none][i] for key in ("plain", "shifted"))
        plain, shifted = (collect(name, none, key) for key in ("plain", "shifted"))
        quantity = f"{name}, {_name_training(none)}: plain - shifted images (points)"
        claim = "plain > shifted"
        findings.append(compare_order(quantity, f"{claim} ({before:.2f} > {after:.2f})", plain, shifted))
    gains = {
        name: [a - b for a, b in zip(collect(name, most, "shifted"), collect(name, none, "shifted"))]
        for name in NETWORKS
    }
    full, local = (b - a for a, b in zip(PUBLISHED["shifted", none], PUBLISHED["shifted", most]))
    quantity = f"gain on shifted images by training with shifts up to {most:g}: full - local (points)"
    claim = f"full gains more ({full:.2f} > {local:.2f})"
    findings.append(compare_order(quantity, claim, gains["full"], gains["local"]))
    for key, what in (("kernels", "kernels"), ("changes", "kernels' changes in training")):
        still, moved = ([one[0] for one in collect("local", amount, key)] for amount in (none, most))
        quantity = f"distance of neighboring {what}: without shifts - with shifts up to {most:g}"
        findings.append(
            compare_order(quantity, "kernels become more alike with shifts", still, moved, digits=3)
        )
    return findings


def _name_training(amount: float) -> str:
    return f"trained with shifts up to {amount:g}" if amount else "trained without shifts"


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
        Plot("Accuracy on shifted test images", label, "test accuracy (%)", accuracy, is_percent=True),
        Plot("Distance between the changes of kernels of two positions", label, "distance", distances),
    ]


EXPERIMENT = Experiment(
    name="ott2020",
    title="To share or not to share (Ott et al. 2020)",
    question="Does a network gain more from shifted training images if it shares weights? Do unshared "
    "kernels become more alike?",
    source="Ott, Linstead, LaHaye, Baldi 2020, Learning in the machine: to share or not to share? "
    "Neural Networks 126, tables of validation accuracy on MNIST and on translated MNIST",
    seeds=4,
    settings={
        "networks": f"3 convolutions of {WIDTHS} channels, stride 1, 2, 2, batch norm, ReLU; dense output",
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
