"""Networks for images that differ only in what their layers share, or that are dense."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from ...errors import DataError
from ...sharing import Full, Local, LowRank, Sharing
from ..network import DEPTH, Network
from .images import Images

WIDTH = 16
DENSE_WIDTH = 128
#: Sharing of each network; None for dense layers.
NETWORKS: dict[str, Sharing | None] = {
    "full": Full(),
    "lowrank:4": LowRank(4),
    "local": Local(),
    "dense": None,
}
DESCRIPTION = (
    f"{DEPTH} layers of {WIDTH} channels with batch norm and ReLU, average over positions, linear output; "
    f"dense: {DEPTH} layers of {DENSE_WIDTH} units"
)


def make_network(name: str, images: Images) -> nn.Module:
    """Return a new network for these images.

    Args:
        name: One of `NETWORKS`.
        images: The images, for their size and number of classes.
    """
    _, channels, *size = images.train[0].shape
    sharing = NETWORKS[name]
    if sharing is None:
        return make_dense(channels * size[0] * size[1], images.classes)
    return Network(channels, size, images.classes, WIDTH, sharing)


def make_dense(inputs: int, outputs: int) -> nn.Sequential:
    """Return a dense network with batch norm and ReLU."""
    layers: list[nn.Module] = [nn.Flatten()]
    for i, o in pairwise([inputs] + [DENSE_WIDTH] * DEPTH):
        layers += [nn.Linear(i, o, bias=False), nn.BatchNorm1d(o), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(DENSE_WIDTH, outputs))


def draw_subset(images: Images, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return this many training images and their classes, drawn with a seed.

    Raises:
        DataError: If there are fewer.
    """
    inputs, classes = images.train
    if len(inputs) < count:
        expected = f"there must be at least {count:,} training images for this experiment"
        raise DataError(images.name, expected, f"{len(inputs):,}")
    chosen = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(seed))[:count]
    return inputs[chosen], classes[chosen]
