"""Sharing by an arbitrary map of labels."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .._args import format_size, is_sequence
from ..errors import ArgumentError, SharingError
from .base import MAX_AXES, OneHot


@dataclass(frozen=True, init=False, repr=False)
class Mapped(OneHot):
    """Positions with the same label share a bank, for example land and sea, or the parts of a face.

        a a b b
        a b b b     Mapped([[0, 0, 1, 1], [0, 1, 1, 1]])

    With a single label this is `Full`; with a different label at each position it is `Local`.

    Args:
        labels: Map of integers with the shape of the output, as nested lists, an array or a tensor. Labels
            are 0 to K - 1, and each is used at least once.

    Raises:
        ArgumentError: If the labels are not a rectangular grid of integers, are negative, or skip a number.

    Example:
        >>> land_and_sea = Mapped([[0, 0, 1], [0, 1, 1]])
        >>> land_and_sea.banks((2, 3))
        2
    """

    shape: tuple[int, ...]
    flat: tuple[int, ...]

    def __init__(self, labels: Any):
        nested = _to_lists(labels)
        if not is_sequence(nested):
            raise ArgumentError(
                "Mapped",
                "labels must be a grid with one entry per position",
                f"the single number {nested!r}",
                "pass a list, an array or a tensor",
            )
        shape, flat = _flatten(nested)
        used = set(flat)
        if min(used) < 0 or max(used) >= len(used):
            unused = next(label for label in range(len(used) + 1) if label not in used)
            got = f"label {min(used)}" if min(used) < 0 else f"no position with label {unused}"
            raise ArgumentError(
                "Mapped", "labels must be 0 to K - 1, each used at least once", got, "renumber the labels"
            )
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "flat", flat)

    @property
    def digest(self) -> int:
        """A 63-bit hash of the map's shape and labels."""
        text = repr((self.shape, self.flat)).encode()
        return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1

    def check(self, out_size: Sequence[int], where: str = "", source: str = "") -> None:
        if self.shape != tuple(out_size):
            expected = f"needs an output of {format_size(self.shape)} (the shape of its labels)"
            got, hint = f"{tuple(out_size)}{source}", "pass labels with the shape of the output"
            raise SharingError(f"{where}{self!r}", expected, got, hint)

    def banks(self, out_size: Sequence[int]) -> int:
        self.check(out_size)
        return max(self.flat) + 1

    def labels(self, out_size: Sequence[int]) -> list[int]:
        self.check(out_size)
        return list(self.flat)

    def __repr__(self) -> str:
        banks = max(self.flat) + 1
        return f"Mapped(<{format_size(self.shape)} labels, {banks} banks, digest {self.digest:016x}>)"

    def __str__(self) -> str:
        return f"mapped:{format_size(self.shape).replace(' ', '')}-{self.digest:016x}"


def _to_lists(labels: Any) -> Any:
    """Return an array or tensor as nested lists, and everything else unchanged."""
    return labels.tolist() if hasattr(labels, "tolist") else labels


def _flatten(nested: Any, depth: int = 0) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the shape and the row-major entries of nested sequences of integers."""
    nested = _to_lists(nested)
    if not is_sequence(nested):
        if isinstance(nested, bool) or not isinstance(nested, int):
            raise ArgumentError(
                "Mapped", "labels must be integers", repr(nested), "cast the map to an integer type"
            )
        return (), (nested,)
    if depth == MAX_AXES:
        raise ArgumentError(
            "Mapped", f"labels must have at most {MAX_AXES} axes (one per spatial axis)", "more"
        )
    if len(nested) == 0:
        raise ArgumentError(
            "Mapped", "labels must not be empty", "an axis of length 0", "pass one label per position"
        )
    inner = [_flatten(item, depth + 1) for item in nested]
    if len({shape for shape, _ in inner}) > 1:
        raise ArgumentError("Mapped", "labels must be rectangular", "rows of different lengths")
    return (len(inner), *inner[0][0]), tuple(label for _, flat in inner for label in flat)
