"""The layers: `torch.nn`'s convolutions with any degree of weight sharing."""

from .conv import Conv1d, Conv2d, Conv3d
from .conv_transpose import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from .locally_connected import LocallyConnected1d, LocallyConnected2d, LocallyConnected3d
from .tied import TiedConvTranspose1d, TiedConvTranspose2d, TiedConvTranspose3d, TiedLinear

__all__ = [
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "LocallyConnected1d",
    "LocallyConnected2d",
    "LocallyConnected3d",
    "TiedConvTranspose1d",
    "TiedConvTranspose2d",
    "TiedConvTranspose3d",
    "TiedLinear",
]
