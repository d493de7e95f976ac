"""One file for each way of computing a layer. `functional.choose` says which is used where.

Every kernel takes a padded input [N, in, *padded] and gives [N, out, *output_size] without bias. None builds
all patches: the largest temporary is a re-laid copy of the input or the output, or a block of patches (of low
rank, the outputs of all banks). Only the plain form that an exported program gets, in `portable`, does.
"""

from . import memory
from .base import Bilinear, Kernel
from .local import LocalRows
from .local_taps import FEW_PRODUCTS, LocalTaps
from .low_rank import BasisConvolutions
from .mapped import GatheredPositions
from .operators import autocast_dtype
from .pieces import PieceConvolutions
from .portable import portable

memory.keep_temporaries()

__all__ = [
    "FEW_PRODUCTS",
    "BasisConvolutions",
    "Bilinear",
    "GatheredPositions",
    "Kernel",
    "LocalRows",
    "LocalTaps",
    "PieceConvolutions",
    "autocast_dtype",
    "portable",
]
