"""Which weight every connection of a linear map uses: from layers, from probing and from symmetries.

A `Pattern` is a list of connections (output, input, weight id), sparse throughout. It says which
permutations of the inputs and outputs leave the map's form as it is, by comparing integers alone.
"""

from . import generators
from .pattern import Pattern
from .proof import PatternProof, Witness
from .shifts import PartialShift
from .symmetries import Symmetries

__all__ = ["PartialShift", "Pattern", "PatternProof", "Symmetries", "Witness", "generators"]
