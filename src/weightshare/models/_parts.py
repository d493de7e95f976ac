"""Building blocks of the networks."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from .. import nn
from ..geometry import Window
from ..sharing import Full, Sharing


class Stem:
    """A sequence of layers under construction, which tracks the input size of the next layer.

    Every sharing except `Full` needs that size.

    Args:
        channels: Number of channels of the input.
        size: Spatial size of the input.
        sharing: Sharing of every convolution.
    """

    def __init__(self, channels: int, size: Sequence[int], sharing: Sharing):
        self.channels, self.size, self.sharing = channels, tuple(size), sharing
        self.layers: list[torch.nn.Module] = []

    def conv(
        self,
        out_channels: int,
        kernel_size: int,
        then: Callable[[], torch.nn.Module] | None = None,
        **arguments: Any,
    ) -> "Stem":
        """Add a convolution, and the module that `then` builds after it."""
        layer = make_conv2d(self.channels, out_channels, kernel_size, self.size, self.sharing, **arguments)
        self.channels, self.size = out_channels, layer.window.output_size(self.size)
        return self.add(layer, *([] if then is None else [then()]))

    def pool(
        self, kernel_size: int, stride: int, kind: Callable[[int, int], torch.nn.Module] = torch.nn.MaxPool2d
    ) -> "Stem":
        """Add a pooling layer, built by `kind(kernel_size, stride)`."""
        self.size = Window((kernel_size,) * 2, stride).output_size(self.size)
        return self.add(kind(kernel_size, stride))

    def add(self, *layers: torch.nn.Module) -> "Stem":
        """Add layers that do not change the spatial size."""
        self.layers += layers
        return self

    @property
    def features(self) -> int:
        """Number of output elements per example."""
        return self.channels * self.size[0] * self.size[1]


def make_conv2d(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    size: Sequence[int],
    sharing: Sharing,
    **arguments: Any,
) -> nn.Conv2d:
    """Return a convolution with a sharing for inputs of this size; with `Full`, it accepts any size."""
    input_size = None if sharing == Full() else tuple(size)
    return nn.Conv2d(
        in_channels, out_channels, kernel_size, sharing=sharing, input_size=input_size, **arguments
    )
