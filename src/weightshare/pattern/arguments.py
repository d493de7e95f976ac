"""Checking what a pattern is given: shapes, edges, biases, strides and permutations."""

from collections.abc import Sequence
from fractions import Fraction
from math import prod
from typing import Any

import numpy as np

from .._args import Size, integer, is_sequence
from .._memory import check_fits
from ..errors import ArgumentError, PatternError


def shape_of(name: str, shape: Size, elements: int | None = None) -> tuple[int, ...]:
    """(channels, *spatial); of `elements` in all where that is given."""
    values = tuple(shape) if is_sequence(shape) else (1, shape)  # type: ignore[arg-type]
    result = tuple(integer("Pattern", name, n, least=1) for n in values)
    if not result or (elements is not None and prod(result) != elements):
        expected = f"{name} must be (channels, *spatial)" + (f" of {elements:,} elements" if elements else "")
        raise PatternError("Pattern", expected, str(result), "give the shape of one example, without a batch")
    return result


def check_counts(**counts: int) -> None:
    """Refuse more inputs, outputs, weights or biases than tables fit memory, or pairs than integers."""
    for name, count in counts.items():
        hint = "use a smaller shape, and ids that count from 0"
        check_fits(PatternError, "Pattern", name, 3 * 8 * count, f"{count:,}", hint)
    if prod(counts.values()) >= 2**62:
        raise PatternError(
            "Pattern",
            f"{' x '.join(counts)} must be below 2**62, to be numbered",
            " x ".join(f"{count:,}" for count in counts.values()),
            "use a smaller shape, and ids that count from 0",
        )


def edges_of(edges: Any, n_out: int, n_in: int) -> np.ndarray:
    """The connections, sorted and read-only."""
    table = as_array(edges)
    if table.size == 0:
        table = np.zeros((0, 3), dtype=np.int64)
    if table.ndim != 2 or table.shape[1] != 3 or table.dtype.kind not in "iu":
        got = f"{table.dtype} of shape {table.shape}"
        raise PatternError(
            "Pattern", "edges must be integers [connections, 3]", got, "rows are (output, input, weight id)"
        )
    table = table.astype(np.int64, copy=False)
    wrong = ((table < 0) | (table >= [n_out, n_in, np.iinfo(np.int64).max])).any(1)
    if wrong.any():
        raise PatternError(
            "Pattern",
            f"edges must name outputs below {n_out:,}, inputs below {n_in:,} and ids of at least 0",
            str(tuple(table[wrong][0].tolist())),
            "rows are (output, input, weight id)",
        )
    key = table[:, 0] * n_in + table[:, 1]
    if (np.diff(key) <= 0).any():  # one weight a connection and in order is the usual case
        table = table[np.lexsort((table[:, 2], key))]
    table.flags.writeable = False
    return table


def bias_of(bias: Any, n_out: int) -> np.ndarray:
    """The ids, read-only."""
    ids = as_array(bias)
    if ids.shape != (n_out,) or ids.dtype.kind not in "iu" or (ids < 0).any():
        got = f"{ids.dtype} of shape {ids.shape}"
        raise PatternError(
            "Pattern", f"bias must be an id of at least 0 for each of {n_out:,} outputs", got, "or None"
        )
    ids = ids.astype(np.int64, copy=False)
    ids.flags.writeable = False
    return ids


def stride_of(stride: Any, ndim: int) -> tuple[Fraction, ...]:
    """A positive number for every spatial axis."""
    try:
        values = tuple(map(Fraction, stride))
    except (TypeError, ValueError, OverflowError, ZeroDivisionError):
        values = ()
    if len(values) != ndim or any(value <= 0 for value in values) or isinstance(stride, str):
        raise ArgumentError(
            "Pattern",
            f"stride must be a positive number for each of {ndim} spatial axes",
            repr(stride),
            "give a tuple, or leave it out for the ratio of the sizes",
        )
    return values


def permutations_of(
    where: str, name: str, generators: Sequence[Sequence[int]], size: int | None = None
) -> list[np.ndarray]:
    """Generators as arrays, if they are permutations of equally many elements.

    Args:
        size: How many; None for as many as the first has.

    Raises:
        ArgumentError: none at all, not a permutation, or different lengths.
    """
    if not (is_sequence(generators) or isinstance(generators, np.ndarray)) or len(generators) == 0:
        raise ArgumentError(
            where,
            f"{name} must be a list of at least one permutation",
            repr(generators)[:60],
            "give a list of sequences; generators.identity(n) moves nothing",
        )
    result: list[np.ndarray] = []
    for number, given in enumerate(generators):
        known = len(result[0]) if result else size
        result.append(permutation_of(where, f"{name}[{number}]", given, known))
    return result


def permutation_of(where: str, name: str, given: Any, size: int | None = None) -> np.ndarray:
    """One permutation as an array, of `size` elements where that is given."""
    g = as_array(given)
    if g.ndim != 1 or g.dtype.kind not in "iu" or not np.array_equal(np.sort(g), np.arange(g.size)):
        listed = is_sequence(given) and len(given) > 0 and np.ndim(as_array(given[0])) == 1
        raise ArgumentError(
            where,
            f"{name} must be a permutation: every number from 0 to n - 1 once",
            _short(given),
            "give one of the list" if listed or g.ndim == 2 else "g[i] is where element i goes",
        )
    if size is not None and len(g) != size:
        raise ArgumentError(
            where, f"{name} must move {size:,} elements", f"{len(g):,}", "give a permutation of as many"
        )
    return g.astype(np.int64)


def as_array(value: Any) -> np.ndarray:
    """A new array; one of objects for lists of unequal lengths."""
    try:
        return np.array(value)
    except (ValueError, OverflowError):
        return np.array(None)


def _short(value: object) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
