"""Count a layer in closed form and derive every count, without importing torch."""

from ._explain import explain
from .explanation import Explanation

__all__ = ["Explanation", "explain"]
