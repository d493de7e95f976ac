"""The backends: the ways of computing a layer, one per file. `choice` selects one and `compute` runs it.

A backend maps a padded input [N, in, *padded] to [N, out, *output_size], without the bias. No backend
stores all patches of the input at once. Its largest temporary is a rearranged copy of the input or output,
or a block of patches; for `LowRank` it is the outputs of all banks. The only exception is the code for
exported programs, in `exportable`, which does store all patches.

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

from . import reuse
from .bank_values import BankValues
from .base import Backend, BilinearBackend
from .choice import choose
from .compute import PaddingMode, convolve, convolve_transposed, pad_input
from .local_native import LocalNative
from .local_rows import LocalRows
from .local_taps import FEW_PRODUCTS, LocalTaps
from .low_rank import BasisConvolutions
from .mapped import GatheredPositions
from .report import Backends, report
from .tiled_regional import PieceConvolutions
from .weight_layout import BANKS, ONE_KERNEL, PER_POSITION, WeightLayout, layout_of

reuse.keep_temporaries()


class _CallablePackage(ModuleType):
    """This package, which returns `report()` when it is called.

    However `weightshare.backends` is imported first, the name then means both the package and the function.
    """

    def __call__(self) -> Backends:
        """Return which backends are available, and why the others are not."""
        return report()


_package: Any = sys.modules[__name__]
_package.__class__ = _CallablePackage
backends = cast(Callable[[], Backends], _package)

__all__ = [
    "BANKS",
    "FEW_PRODUCTS",
    "ONE_KERNEL",
    "PER_POSITION",
    "Backend",
    "Backends",
    "BankValues",
    "BasisConvolutions",
    "BilinearBackend",
    "GatheredPositions",
    "LocalNative",
    "LocalRows",
    "LocalTaps",
    "PaddingMode",
    "PieceConvolutions",
    "WeightLayout",
    "backends",
    "choose",
    "convolve",
    "convolve_transposed",
    "layout_of",
    "pad_input",
    "report",
]
