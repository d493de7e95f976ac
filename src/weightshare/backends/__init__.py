"""The backends: the ways of computing a layer. `choice` selects one and `compute` runs it.

`one_hot` computes every sharing with one bank per position, with the compiled code of `native` where that is
available and otherwise with the plain torch operators of `portable`. `low_rank` computes `LowRank`. `Full` is
torch's convolution. A backend maps an input [N, in, *size] to [N, out, *output_size], without the bias.

No backend stores all patches of the input at once, except in exported programs. The largest
temporaries are a rearranged copy of the input and of the output's gradient in the native code, a block of
patches in `portable`, and the outputs of all banks in `low_rank`.

`weightshare.backends()` reports which backends are available. This package has the same name, so it can be
called:

>>> import weightshare as ws
>>> ws.backends().portable.available
True
"""

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, cast

from .bank_values import BankValues
from .base import Backend
from .choice import choose
from .compute import PaddingMode, convolve, convolve_transposed, pad_axes, pad_input
from .low_rank import BasisConvolutions
from .one_hot import OneHotBackend
from .report import Backends, report
from .weight_layout import BANKS, ONE_KERNEL, PER_POSITION, WeightLayout, layout_of


class _CallablePackage(ModuleType):
    """A package that returns `report()` when it is called.

    Whichever way `weightshare.backends` is first imported, the name refers to the package and the function.
    """

    def __call__(self) -> Backends:
        """Return which backends are available, and why the others are not."""
        return report()


_package: Any = sys.modules[__name__]
_package.__class__ = _CallablePackage
backends = cast(Callable[[], Backends], _package)

__all__ = [
    "BANKS",
    "ONE_KERNEL",
    "PER_POSITION",
    "Backend",
    "Backends",
    "BankValues",
    "BasisConvolutions",
    "OneHotBackend",
    "PaddingMode",
    "WeightLayout",
    "backends",
    "choose",
    "convolve",
    "convolve_transposed",
    "layout_of",
    "pad_axes",
    "pad_input",
    "report",
]
