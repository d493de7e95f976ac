"""Counting: closed forms that say where every number of a layer comes from, without importing torch."""

from ._explain import explain
from .explanation import Explanation

__all__ = ["Explanation", "explain"]
