"""The layers: `torch.nn`'s convolutions with any degree of weight sharing, blur pooling, and more.

Decoders with tied weights and the linear layer of a pattern load on first use (PEP 562): they bring the
ledger and scipy, which the others do without.
"""

import importlib
from typing import TYPE_CHECKING

from .blur_pool import BlurPool1d, BlurPool2d, BlurPool3d
from .conv import Conv1d, Conv2d, Conv3d
from .conv_transpose import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from .locally_connected import LocallyConnected1d, LocallyConnected2d, LocallyConnected3d

if TYPE_CHECKING:
    from .shared_linear import SharedLinear
    from .tied import TiedConvTranspose1d, TiedConvTranspose2d, TiedConvTranspose3d, TiedLinear

__all__ = [
    "BlurPool1d",
    "BlurPool2d",
    "BlurPool3d",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "LocallyConnected1d",
    "LocallyConnected2d",
    "LocallyConnected3d",
    "SharedLinear",
    "TiedConvTranspose1d",
    "TiedConvTranspose2d",
    "TiedConvTranspose3d",
    "TiedLinear",
]


def __getattr__(name: str):
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = ".shared_linear" if name == "SharedLinear" else ".tied"
    return getattr(importlib.import_module(module, __name__), name)


def __dir__():
    return sorted({*globals(), *__all__})
