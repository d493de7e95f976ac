"""Patterns of connections: which weight each connection of a linear map uses.

A `Pattern` is a sparse list of connections (output, input, weight id), read from a layer, found by probing or
derived from symmetries. Comparing its integers shows to which permutations the map is equivariant, for all
values of its weights.
"""

from . import generators
from .pattern import Pattern
from .proof import PatternProof, Witness
from .shifts import PartialShift
from .symmetries import Symmetries

__all__ = ["PartialShift", "Pattern", "PatternProof", "Symmetries", "Witness", "generators"]
