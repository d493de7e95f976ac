"""One file for each way of computing a layer. `functional.choose` says which is used where.

Every backend takes a padded input [N, in, *padded] and gives [N, out, *output_size] without bias. None builds
all patches: the largest temporary is a re-laid copy of the input or the output, or a block of patches (of low
rank, the outputs of all banks). Only the plain form that an exported program gets, in `portable`, does.
"""

from . import reuse
from .base import Backend, BilinearBackend
from .local_rows import LocalRows
from .local_taps import FEW_PRODUCTS, LocalTaps
from .low_rank import BasisConvolutions
from .mapped import GatheredPositions
from .operators import autocast_dtype
from .tiled_regional import PieceConvolutions

reuse.keep_temporaries()

__all__ = [
    "FEW_PRODUCTS",
    "Backend",
    "BasisConvolutions",
    "BilinearBackend",
    "GatheredPositions",
    "LocalRows",
    "LocalTaps",
    "PieceConvolutions",
    "autocast_dtype",
]
