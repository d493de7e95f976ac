"""Which positions of a layer use which bank of weights: frozen values in pure Python.

Each sharing says how many banks it has (`banks`), which bank every position uses (`labels`), whether it can
express all that another can (`refines`), and draws itself (`draw`).
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
