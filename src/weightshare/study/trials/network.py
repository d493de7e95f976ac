"""The network of a study. Its rows differ only in the sharing and width of its convolutions."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from ... import nn as shared
from ...sharing import Sharing

DEPTH = 3
_CONVOLUTIONS = {1: shared.Conv1d, 2: shared.Conv2d, 3: shared.Conv3d}
_NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
_HEADS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_DECODERS = {1: shared.ConvTranspose1d, 2: shared.ConvTranspose2d, 3: shared.ConvTranspose3d}
_TIED = {1: shared.TiedConvTranspose1d, 2: shared.TiedConvTranspose2d, 3: shared.TiedConvTranspose3d}


class Network(nn.Module):
    """Three convolutions with a kernel of size 3, batch norm and ReLU, and a linear head.

    The convolutions have stride 1, padding 1 and no bias (batch norm adds one per channel), so that networks
    of the same width differ only in the sharing of their kernels. The head follows a global average pooling,
    or for a task with a target at each position, it is applied at each position.

    Args:
        channels: Number of channels of the input.
        size: Spatial size of the input, with one to three axes.
        outputs: Number of outputs, such as classes.
        width: Output channels of each convolution.
        sharing: Sharing of each convolution.
        is_dense: Whether to return outputs for each position.
        device: Device of the parameters.

    Shape:
        [N, channels, *size] -> [N, outputs], or [N, outputs, *size] if `is_dense`

    Parameters:
        With `Full()` on images: 9 width (channels + 2 width) + 6 width + (width + 1) outputs.
    """

    def __init__(
        self,
        channels: int,
        size: Sequence[int],
        outputs: int,
        width: int,
        sharing: Sharing,
        is_dense: bool = False,
        device: torch.device | str | None = None,
    ):
        super().__init__()
        widths, ndim = [channels] + [width] * DEPTH, len(size)
        self.convolutions = nn.ModuleList(
            _CONVOLUTIONS[ndim](
                i, o, 3, padding=1, bias=False, device=device, sharing=sharing, input_size=tuple(size)
            )
            for i, o in pairwise(widths)
        )
        self.norms = nn.ModuleList(_NORMS[ndim](width, device=device) for _ in range(DEPTH))
        self.head: nn.Module = (
            _HEADS[ndim](width, outputs, 1, device=device)
            if is_dense
            else nn.Linear(width, outputs, device=device)
        )
        self.is_dense, self.width = is_dense, width

    def forward(self, x: Tensor) -> Tensor:
        for convolution, norm in zip(self.convolutions, self.norms):
            x = torch.relu(norm(convolution(x)))
        return self.head(x if self.is_dense else x.mean(dim=tuple(range(2, x.dim()))))


class Autoencoder(nn.Module):
    """Two convolutions with stride 2 and two transposed convolutions, with ReLU between them.

    Args:
        channels: Number of channels of the input.
        size: Spatial size of the input, with one to three axes.
        width: Output channels of the first convolution; the second one has twice as many.
        sharing: Sharing of each layer.
        is_tied: Whether the decoders use the weights of the encoders.
        device: Device of the parameters.

    Shape:
        [N, channels, *size] -> [N, channels, *size]
    """

    def __init__(
        self,
        channels: int,
        size: Sequence[int],
        width: int,
        sharing: Sharing,
        is_tied: bool = False,
        device: torch.device | str | None = None,
    ):
        super().__init__()
        ndim = len(size)
        convolution = _CONVOLUTIONS[ndim]
        options: dict[str, Any] = {"sharing": sharing, "device": device}
        first = convolution(channels, width, 3, 2, 1, input_size=tuple(size), **options)
        second = convolution(width, 2 * width, 3, 2, 1, input_size=first.output_size, **options)
        self.convolutions = nn.ModuleList([first, second])

        def make_decoder(encoder: Any) -> nn.Module:
            if is_tied:
                return _TIED[ndim](encoder).to(device=device)
            return _DECODERS[ndim](
                encoder.out_channels,
                encoder.in_channels,
                3,
                2,
                1,
                output_padding=tuple(1 - n % 2 for n in encoder.input_size),
                input_size=encoder.output_size,
                **options,
            )

        self.decoders = nn.ModuleList([make_decoder(second), make_decoder(first)])

    def forward(self, x: Tensor) -> Tensor:
        for convolution in self.convolutions:
            x = torch.relu(convolution(x))
        return self.decoders[1](torch.relu(self.decoders[0](x)))
