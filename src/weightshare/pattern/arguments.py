"""Check the arguments of patterns: shapes, edges, biases, strides and permutations."""

from collections.abc import Sequence
from fractions import Fraction
from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .._args import Size, check_integer, is_sequence
from .._memory import check_fits
from ..errors import ArgumentError, PatternError

# up to three int64 tables with one entry per input, output, weight or bias
_BYTES_PER_ITEM = 3 * 8
_COUNT_HINT = "use a smaller shape and number the ids from 0"


def check_shape(name: str, shape: Size, elements: int | None = None) -> tuple[int, ...]:
    """Return (channels, *spatial); raise `PatternError` if it does not have the given number of elements."""
    values = tuple(shape) if is_sequence(shape) else (1, shape)
    result = tuple(check_integer("Pattern", name, n, least=1) for n in values)
    if not result or (elements is not None and prod(result) != elements):
        count = f" with {elements:,} elements" if elements else ""
        raise PatternError(
            "Pattern",
            f"{name} must be (channels, *spatial){count}",
            str(result),
            "pass the shape without the batch axis",
        )
    return result


def check_counts(**counts: int) -> None:
    """Raise `PatternError` if tables of these lengths do not fit in memory, or their pairs in an int64."""
    for name, count in counts.items():
        check_fits(PatternError, "Pattern", name, _BYTES_PER_ITEM * count, f"{count:,}", _COUNT_HINT)
    if prod(counts.values()) >= 2**62:
        raise PatternError(
            "Pattern",
            f"{' x '.join(counts)} must be below 2**62",
            " x ".join(f"{count:,}" for count in counts.values()),
            _COUNT_HINT,
        )


def check_edges(edges: ArrayLike, n_out: int, n_in: int) -> np.ndarray:
    """Return the connections sorted by output, input and id, as a read-only array [connections, 3]."""
    table = as_array(edges)
    if table.size == 0:
        table = np.zeros((0, 3), dtype=np.int64)
    hint = "rows are (output, input, weight id)"
    if table.ndim != 2 or table.shape[1] != 3 or table.dtype.kind not in "iu":
        got = f"{table.dtype} of shape {table.shape}"
        raise PatternError("Pattern", "edges must be integers of shape [connections, 3]", got, hint)
    table = table.astype(np.int64, copy=False)
    wrong = ((table < 0) | (table >= [n_out, n_in, np.iinfo(np.int64).max])).any(1)
    if wrong.any():
        raise PatternError(
            "Pattern",
            f"each edge must have an output below {n_out:,}, an input below {n_in:,} and an id of at least 0",
            str(tuple(table[wrong][0].tolist())),
            hint,
        )
    pairs = table[:, 0] * n_in + table[:, 1]
    if (np.diff(pairs) <= 0).any():  # edges are usually sorted already, with one weight per pair
        table = table[np.lexsort((table[:, 2], pairs))]
    table.flags.writeable = False
    return table


def check_bias(bias: ArrayLike, n_out: int) -> np.ndarray:
    """Return the bias ids as a read-only array [n_out]."""
    ids = as_array(bias)
    if ids.shape != (n_out,) or ids.dtype.kind not in "iu" or (ids < 0).any():
        got = f"{ids.dtype} of shape {ids.shape}"
        raise PatternError(
            "Pattern", f"bias must have an id of at least 0 for each of {n_out:,} outputs", got
        )
    ids = ids.astype(np.int64, copy=False)
    ids.flags.writeable = False
    return ids


def check_stride(stride: Sequence[float | Fraction], ndim: int) -> tuple[Fraction, ...]:
    """Return the stride as one positive `Fraction` per spatial axis."""
    try:
        values = tuple(Fraction(value) for value in stride)
    except (TypeError, ValueError, OverflowError, ZeroDivisionError):
        values = ()
    if len(values) != ndim or any(value <= 0 for value in values) or isinstance(stride, str):
        raise ArgumentError(
            "Pattern",
            f"stride must be a positive number for each of {ndim} spatial axes",
            repr(stride),
            "pass a tuple, or omit it to use the ratio of the sizes",
        )
    return values


def check_permutations(
    where: str, name: str, generators: Sequence[ArrayLike], size: int | None = None
) -> list[np.ndarray]:
    """Return the generators as arrays; raise `ArgumentError` unless they permute equally many elements.

    Args:
        where: Name of the function in errors.
        name: Name of the argument in errors.
        size: Number of elements; None for the number that the first generator permutes.
    """
    if not (is_sequence(generators) or isinstance(generators, np.ndarray)) or len(generators) == 0:
        raise ArgumentError(
            where,
            f"{name} must be a list of at least one permutation",
            repr(generators)[:60],
            "pass generators.identity(n) for the identity",
        )
    result: list[np.ndarray] = []
    for number, generator in enumerate(generators):
        known = len(result[0]) if result else size
        result.append(check_permutation(where, f"{name}[{number}]", generator, known))
    return result


def check_permutation(where: str, name: str, permutation: ArrayLike, size: int | None = None) -> np.ndarray:
    """Return a permutation as an array; raise `ArgumentError` unless it permutes `size` elements."""
    g = as_array(permutation)
    if g.ndim != 1 or g.dtype.kind not in "iu" or not np.array_equal(np.sort(g), np.arange(g.size)):
        raise ArgumentError(
            where,
            f"{name} must be a permutation, with every number from 0 to n - 1 exactly once",
            _shorten(permutation),
            "pass one permutation of the list" if _is_nested(permutation) else "g[i] is where element i goes",
        )
    if size is not None and len(g) != size:
        raise ArgumentError(where, f"{name} must permute {size:,} elements", f"{len(g):,}")
    return g.astype(np.int64)


def as_array(value: Any) -> np.ndarray:
    """Return a new array; an array of objects if the value is ragged."""
    try:
        return np.array(value)
    except (ValueError, OverflowError):
        return np.array(None)


def _is_nested(value: Any) -> bool:
    """Return whether the value is a list of sequences, possibly of different lengths."""
    is_ragged = is_sequence(value) and len(value) > 0 and np.ndim(as_array(value[0])) == 1
    return is_ragged or as_array(value).ndim == 2


def _shorten(value: object) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
