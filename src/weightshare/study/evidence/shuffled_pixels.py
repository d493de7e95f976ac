"""One fixed permutation of all pixels: what remains of the advantage of a convolution."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..statistics.intervals import compare_means
from .base import Experiment, Finding, Record, compare_order, measure_percent
from .image_networks import DESCRIPTION, NETWORKS, draw_subset, make_network
from .images import Images, load_images
from .training import measure_accuracy, train

TRAIN_IMAGES = 1000
EPOCHS = 8
LEARNING_RATE = 4e-3
#: Largest difference in points that counts as none.
MARGIN = 1.0


def shuffle(images: Images, seed: int) -> Images:
    """Return the images with their pixels in another order, the same for all."""
    height, width = images.train[0].shape[-2:]
    order = torch.randperm(height * width, generator=torch.Generator().manual_seed(seed))

    def permute(pair: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return pair[0].flatten(2)[:, :, order].reshape(pair[0].shape), pair[1]

    return replace(images, train=permute(images.train), test=permute(images.test))


def run_seed(data: str, seed: int) -> Record:
    """Return the test accuracy of each network on plain and shuffled images, in percent."""
    plain = load_images(data)

    def get_accuracy(name: str, images: Images) -> float:
        torch.manual_seed(seed)
        network = make_network(name, images)
        train(
            network,
            *draw_subset(images, TRAIN_IMAGES, seed),
            seed=seed,
            epochs=EPOCHS,
            learning_rate=LEARNING_RATE,
        )
        return measure_accuracy(network, *images.test)

    pairs = {"plain": plain, "shuffled": shuffle(plain, seed)}
    return {name: {order: get_accuracy(name, images) for order, images in pairs.items()} for name in NETWORKS}


def judge(records: Sequence[Record]) -> list[Finding]:
    """Compare plain with shuffled images, and the convolution with the dense network."""
    values = {
        (name, order): [r[name][order] for r in records]
        for name in NETWORKS
        for order in ("plain", "shuffled")
    }
    findings = [
        measure_percent(f"{name}, {order}: test accuracy (%)", v) for (name, order), v in values.items()
    ]
    losses = {
        name: (values[name, "plain"], values[name, "shuffled"], f"{name}: plain - shuffled (points)")
        for name in NETWORKS
    }
    for name in ("full", "lowrank:4"):
        plain, shuffled, quantity = losses[name]
        findings.append(compare_order(quantity, "expected: plain > shuffled", plain, shuffled))
    for name in ("local", "dense"):
        plain, shuffled, quantity = losses[name]
        findings.append(_compare_equal(quantity, plain, shuffled))
    more = ("plain", "full", "dense"), ("shuffled", "dense", "full")
    findings += [
        compare_order(
            f"{order}, {a} - {b} (points)", f"expected: {a} > {b}", values[a, order], values[b, order]
        )
        for order, a, b in more
    ]
    return findings


def _compare_equal(quantity: str, first: Sequence[float], second: Sequence[float]) -> Finding:
    """Return the finding for the claim that two quantities are equal: the interval must be narrow."""
    difference = compare_means(first, second)
    interval = difference.ci
    agrees = interval is not None and -MARGIN <= interval[0] <= interval[1] <= MARGIN
    note = f"It agrees if the interval is within {MARGIN:g} point of 0."
    return Finding(quantity, "expected: no difference", difference.mean, interval, agrees, note)


EXPERIMENT = Experiment(
    name="shuffled-pixels",
    title="Images with shuffled pixels",
    question="If the pixels of all images are shuffled in the same way, does a convolution lose its "
    "advantage? Is the accuracy of local and dense layers unchanged?",
    source="None. The expectations follow from the definitions of the layers.",
    seeds=8,
    settings={
        "networks": DESCRIPTION,
        "training images": TRAIN_IMAGES,
        "training": f"Adam, {EPOCHS} epochs, initial learning rate {LEARNING_RATE}",
    },
    run_seed=run_seed,
    judge=judge,
)
