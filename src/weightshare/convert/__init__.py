"""Conversions of layers and models to another sharing, to `torch.nn`, and from Keras and Flax.

All functions return new objects and leave their arguments unchanged.
"""

from ._relax import relax
from ._restrict import Restricted, restrict
from ._to_torch import to_torch
from .dense import to_dense
from .flax import from_flax
from .keras import from_keras
from .optimizer import convert_optimizer

__all__ = [
    "Restricted",
    "convert_optimizer",
    "from_flax",
    "from_keras",
    "relax",
    "restrict",
    "to_dense",
    "to_torch",
]
