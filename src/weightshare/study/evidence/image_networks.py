"""Networks for images that differ only in what their layers share, or that are dense."""

from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn

from ... import nn as shared
from ...errors import DataError
from ...sharing import Full, Local, LowRank, Sharing
from .images import Images

WIDTHS, STRIDES = (8, 16, 16), (1, 2, 2)
DENSE_WIDTHS = (128, 128, 128)
#: Sharing of each network; None for dense layers.
NETWORKS: dict[str, Sharing | None] = {
    "full": Full(),
    "lowrank:4": LowRank(4),
    "local": Local(),
    "dense": None,
}
DESCRIPTION = (
    f"3 convolutions of {WIDTHS} channels, stride {STRIDES}, batch norm, ReLU, linear output; "
    f"dense: layers of {DENSE_WIDTHS} units, batch norm, ReLU, linear output"
)


class ImageNetwork(nn.Module):
    """Three convolutions with stride 1, 2 and 2, batch norm, ReLU, and a dense layer on all positions."""

    def __init__(self, images: Images, sharing: Sharing):
        super().__init__()
        _, channels, *size = images.train[0].shape
        self.layers = nn.Sequential()
        for width, stride in zip(WIDTHS, STRIDES):
            layer = shared.Conv2d(channels, width, 3, stride, 1, sharing=sharing, input_size=tuple(size))
            self.layers.extend([layer, nn.BatchNorm2d(width), nn.ReLU()])
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


def make_network(name: str, images: Images) -> nn.Module:
    """Return a new network for these images.

    Args:
        name: One of `NETWORKS`.
        images: The images, for their size and number of classes.
    """
    sharing = NETWORKS[name]
    if sharing is None:
        return make_dense(images.train[0][0].numel(), images.classes)
    return ImageNetwork(images, sharing)


def make_dense(inputs: int, outputs: int) -> nn.Sequential:
    """Return a dense network with batch norm and ReLU."""
    layers: list[nn.Module] = [nn.Flatten()]
    for i, o in pairwise((inputs, *DENSE_WIDTHS)):
        layers += [nn.Linear(i, o, bias=False), nn.BatchNorm1d(o), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(DENSE_WIDTHS[-1], outputs))


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
