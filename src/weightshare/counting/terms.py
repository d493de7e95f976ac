"""Sums of products of labeled factors, in which every count is written."""

from dataclasses import dataclass
from math import prod
from typing import Any


@dataclass(frozen=True)
class Factor:
    """A labeled factor of a product."""

    label: str
    n: int


Factors = tuple[Factor, ...]


@dataclass(frozen=True)
class Term:
    """A labeled term of a sum: the product of its factors.

    >>> Term("biases", (Factor("output channels", 96), Factor("biases per channel", 1))).n
    96
    """

    label: str
    factors: Factors

    @property
    def n(self) -> int:
        return prod(factor.n for factor in self.factors)

    def to_dict(self) -> dict[str, Any]:
        return {
            "label": self.label,
            "factors": [{"label": factor.label, "n": factor.n} for factor in self.factors],
            "n": self.n,
        }
