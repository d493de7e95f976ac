"""The backends: the ways of computing a layer, one per file. `choice` selects one and `compute` runs it.

A backend maps a padded input [N, in, *padded] to [N, out, *output_size], without the bias. No backend
stores all patches of the input at once. Its largest temporary is a rearranged copy of the input or output,
or a block of patches; for `LowRank` it is the outputs of all banks. The only exception is the code for
exported programs, in `exportable`, which does store all patches.
"""

from . import reuse
from .bank_values import BankValues
from .base import Backend, BilinearBackend
from .choice import choose
from .compute import PaddingMode, convolve, convolve_transposed, pad_axes, pad_input
from .local_native import LocalNative
from .local_rows import LocalRows
from .local_taps import FEW_PRODUCTS, LocalTaps
from .low_rank import BasisConvolutions
from .mapped import GatheredPositions
from .tiled_regional import PieceConvolutions
from .weight_layout import BANKS, ONE_KERNEL, PER_POSITION, WeightLayout, layout_of

reuse.keep_temporaries()

__all__ = [
    "BANKS",
    "FEW_PRODUCTS",
    "ONE_KERNEL",
    "PER_POSITION",
    "Backend",
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
    "choose",
    "convolve",
    "convolve_transposed",
    "layout_of",
    "pad_axes",
    "pad_input",
]
