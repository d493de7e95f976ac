"""Autoencoders whose decoders can reuse the weights of their encoders."""

from collections import OrderedDict

import torch

from .. import nn
from ..sharing import Full, Sharing

FULL = Full()


def dense_autoencoder(features: int = 784, hidden: int = 64, *, tied: bool = True) -> torch.nn.Sequential:
    """Build an autoencoder with one hidden layer.

    If it is tied, the decoder uses the transposed weight of the encoder, and has a separate bias.

    Source: Vincent et al. 2010, Stacked denoising autoencoders, section 2.2.

    Example:
        >>> [sum(p.numel() for p in dense_autoencoder(tied=tied).parameters()) for tied in (True, False)]
        [51024, 101200]
    """
    encoder = torch.nn.Linear(features, hidden)
    decoder = nn.TiedLinear(encoder) if tied else torch.nn.Linear(hidden, features)
    return torch.nn.Sequential(OrderedDict(encoder=encoder, relu=torch.nn.ReLU(), decoder=decoder))


def conv_autoencoder(
    channels: int = 1, size: int = 28, *, tied: bool = True, sharing: Sharing = FULL
) -> torch.nn.Sequential:
    """Build an autoencoder of two convolutions with stride 2 and two transposed convolutions.

    If it is tied, the decoders use the weights of the encoders, and have separate biases.

    Args:
        channels: Number of channels of the images.
        size: Height and width of the images, a multiple of 4.
        tied: Whether the decoders use the encoders' weights.
        sharing: Sharing of every layer.

    Source: Masci et al. 2011, Stacked convolutional auto-encoders, section 3.

    Example:
        >>> [sum(p.numel() for p in conv_autoencoder(tied=tied).parameters()) for tied in (True, False)]
        [4817, 9569]
    """
    first = nn.Conv2d(channels, 16, 3, 2, 1, sharing=sharing, input_size=size)
    second = nn.Conv2d(16, 32, 3, 2, 1, sharing=sharing, input_size=size // 2)
    layers: list[tuple[str, torch.nn.Module]] = [
        ("encoder1", first),
        ("relu1", torch.nn.ReLU()),
        ("encoder2", second),
    ]
    layers += [
        ("relu2", torch.nn.ReLU()),
        ("decoder2", _make_decoder(second, tied)),
        ("relu3", torch.nn.ReLU()),
    ]
    return torch.nn.Sequential(OrderedDict([*layers, ("decoder1", _make_decoder(first, tied))]))


def _make_decoder(encoder: nn.Conv2d, tied: bool) -> torch.nn.Module:
    if tied:
        return nn.TiedConvTranspose2d(encoder)
    return nn.ConvTranspose2d(
        encoder.out_channels,
        encoder.in_channels,
        3,
        2,
        1,
        output_padding=1,
        sharing=encoder.sharing,
        input_size=encoder.output_size,
    )
