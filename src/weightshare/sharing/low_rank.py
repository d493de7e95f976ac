"""Low-rank sharing: one shared kernel plus corrections with coefficients that vary by position."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from .._args import check_integer
from ..errors import ArgumentError
from .base import Sharing, draw_labels

COEFFICIENTS = ("factorized", "free")


@dataclass(frozen=True, repr=False)
class LowRank(Sharing):
    """One shared kernel plus `rank` corrections, weighted by learned coefficients at each position.

        W[p] = B[0] + A[p, 1] B[1] + ... + A[p, rank] B[rank]

    `LowRank(0)` is `Full`. With free coefficients and P positions, rank P - 1 can express every layer that
    `Local` can. `LowRank(rank)` can also express all kernels of the softmax-weighted form of Elsayed et al.
    with spatial rank `rank + 1`.

    Args:
        rank: Number of corrections, at least 0.
        coefficients: "factorized" (A[p, k] is a sum of one learned term per spatial axis) or "free" (A[p, k]
            is learned separately for each position).

    Raises:
        ArgumentError: If `rank` is not an integer of at least 0, or if `coefficients` is unknown.

    Example:
        >>> LowRank(4).banks((28, 28))
        5

    Source: Elsayed, Ramachandran, Shlens and Kornblith, "Revisiting spatial invariance with low-rank local
    connectivity", ICML 2020, section 3.
    """

    rank: int
    coefficients: str = "factorized"

    one_hot = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "rank", check_integer("LowRank", "rank", self.rank, least=0))
        if self.coefficients not in COEFFICIENTS:
            raise ArgumentError(
                "LowRank", "coefficients must be 'factorized' or 'free'", repr(self.coefficients)
            )

    def check(self, out_size: Sequence[int], where: str = "", source: str = "") -> None:
        pass

    def banks(self, out_size: Sequence[int]) -> int:
        return 1 + self.rank

    def labels(self, out_size: Sequence[int]) -> list[int]:
        return [0] * prod(out_size)

    def coefficient_shapes(self, out_size: Sequence[int]) -> dict[str, tuple[int, ...]]:
        """Return the names and shapes of the coefficient parameters.

        >>> LowRank(4).coefficient_shapes((5, 7))
        {'coefficients_0': (4, 5), 'coefficients_1': (4, 7)}
        """
        if self.coefficients == "free":
            return {"coefficients": (self.rank, *out_size)}
        return {f"coefficients_{axis}": (self.rank, n) for axis, n in enumerate(out_size)}

    def refines(self, other: Sharing, out_size: Sequence[int]) -> bool:
        other.check(out_size)
        if other.banks(out_size) == 1:
            return True
        if isinstance(other, LowRank):
            contained = self._is_free(out_size) or not other._is_free(out_size)
            return contained and self._get_effective_rank(out_size) >= other._get_effective_rank(out_size)
        labels = other.labels(out_size)
        enough = self.rank >= len(set(labels)) - 1
        return enough and (self._is_free(out_size) or _is_additive(labels, out_size))

    def draw(self, out_size: Sequence[int]) -> str:
        shared = draw_labels(self.labels(out_size), out_size)
        return f"{shared}\n(a everywhere, plus {self.rank} corrections weighted by position)"

    def _is_free(self, out_size: Sequence[int]) -> bool:
        """Return whether the coefficients can take any value.

        Factorized coefficients can take any value if at most one axis has more than one position.
        """
        return self.coefficients == "free" or sum(n > 1 for n in out_size) <= 1

    def _get_effective_rank(self, out_size: Sequence[int]) -> int:
        """Return the effective rank: corrections beyond it cannot express anything more."""
        free, factorized = prod(out_size) - 1, sum(n - 1 for n in out_size)
        return min(self.rank, free if self._is_free(out_size) else factorized)

    def __repr__(self) -> str:
        return f"LowRank({self.rank}" + (", coefficients='free')" if self.coefficients == "free" else ")")

    def __str__(self) -> str:
        return f"lowrank:{self.rank}" + (":free" if self.coefficients == "free" else "")


def _is_additive(labels: list[int], out_size: Sequence[int]) -> bool:
    """Return whether factorized coefficients can express the labels.

    The indicator of each label must be a sum of functions of one axis each. Since its values are 0 and 1, it
    is such a sum only if it depends on a single axis.
    """
    varying = 0
    step = len(labels)
    for n in out_size:
        step //= n
        varying += any(labels[p] != labels[p + step] for p in range(len(labels)) if p // step % n < n - 1)
    return varying <= 1
