"""Sharings: which positions of a layer use which bank. Frozen values in pure Python.

Each sharing returns its number of banks (`banks`) and the bank of every position (`labels`), compares itself
with other sharings (`refines`) and draws its pattern (`draw`).
"""

from .along import SharedAlong
from .base import OneHot, Separable, Sharing, check_sharing
from .full import Full
from .local import Local
from .low_rank import LowRank
from .mapped import Mapped
from .parse import parse_sharing
from .regional import Regional
from .tiled import Tiled

__all__ = [
    "Full",
    "Local",
    "LowRank",
    "Mapped",
    "OneHot",
    "Regional",
    "Separable",
    "SharedAlong",
    "Sharing",
    "Tiled",
    "check_sharing",
    "parse_sharing",
]
