"""The network of a study. Its rows differ only in the sharing and width of its convolutions."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from .. import nn as shared
from ..sharing import Sharing

DEPTH = 3


class Network(nn.Module):
    """Three 3 x 3 convolutions with batch norm and ReLU, global average pooling and a linear head.

    The convolutions have stride 1, padding 1 and no bias (batch norm adds one per channel), so that networks
    of the same width differ only in the sharing of their kernels.

    Args:
        channels: Number of channels of an image.
        size: Height and width of an image.
        classes: Number of classes.
        width: Output channels of each convolution.
        sharing: Sharing of each convolution.
        device: Device of the parameters.

    Shape:
        [N, channels, *size] -> [N, classes]

    Parameters:
        With `Full()`: 9 width (channels + 2 width) + 6 width + (width + 1) classes.
    """

    def __init__(
        self,
        channels: int,
        size: tuple[int, int],
        classes: int,
        width: int,
        sharing: Sharing,
        device: torch.device | str | None = None,
    ):
        super().__init__()
        widths = [channels] + [width] * DEPTH
        self.convolutions = nn.ModuleList(
            shared.Conv2d(i, o, 3, padding=1, bias=False, device=device, sharing=sharing, input_size=size)
            for i, o in pairwise(widths)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(width, device=device) for _ in range(DEPTH))
        self.head = nn.Linear(width, classes, device=device)

    def forward(self, x: Tensor) -> Tensor:
        for convolution, norm in zip(self.convolutions, self.norms):
            x = torch.relu(norm(convolution(x)))
        return self.head(x.mean(dim=(2, 3)))
