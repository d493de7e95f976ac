"""The ways of computing a layer, one file per backend; `choice` selects one, `compute` runs it.

A backend takes a padded input [N, in, *padded] and returns [N, out, *output_size] without bias. None of them
materializes all patches: the largest temporary is a reordered copy of the input or the output, or a block of
patches (for low rank, the outputs of all banks). Only the code for exported programs, in `exportable`, does.
"""

from . import reuse
from .bank_values import BankValues
from .base import Backend, BilinearBackend
from .choice import choose
from .compute import convolve, convolve_transposed, pad_input
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
    "LocalRows",
    "LocalTaps",
    "PieceConvolutions",
    "WeightLayout",
    "choose",
    "convolve",
    "convolve_transposed",
    "layout_of",
    "pad_input",
]
