"""Compute the orbits of connections under permutations of the inputs and outputs."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from .._memory import check_fits
from ..errors import PatternError
from .arguments import as_array

_WHERE = "Pattern.from_symmetry"
_BYTES_PER_PAIR = 55  # measured memory per pair and per image of a pair, including the graph


def find_orbits(
    inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray], support: ArrayLike | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the edges, with one id per orbit, and the orbit of each output.

    Args:
        inputs: Permutation of the inputs for each generator.
        outputs: Permutation of the outputs for each generator.
        support: Connections (output, input) to start from; None for all pairs.
    """
    n_in, n_out = len(inputs[0]), len(outputs[0])
    if support is None:
        _check_memory(n_out * n_in * (1 + len(inputs)), f"all {n_out:,} x {n_in:,} connections")
        pairs = np.arange(n_out * n_in)
    else:
        pairs = _close(_check_support(support, n_out, n_in), inputs, outputs)
    output, input_ = np.divmod(pairs, n_in)
    images = [g_out[output] * n_in + g_in[input_] for g_in, g_out in zip(inputs, outputs)]
    if support is not None:
        images = [np.searchsorted(pairs, image) for image in images]
    ids = _number_orbits(images, len(pairs))
    return np.stack([output, input_, ids], axis=1), _number_orbits(outputs, n_out)


def _number_orbits(images: Sequence[np.ndarray], count: int) -> np.ndarray:
    """Return the orbit of each of `count` elements under some maps, numbered in order of appearance."""
    start = np.tile(np.arange(count), len(images))
    graph = coo_array((np.ones(len(start), dtype=np.int8), (start, np.concatenate(images))), (count, count))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def _close(pairs: np.ndarray, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> np.ndarray:
    """Return all images of the given pairs under the group, sorted."""
    n_in = len(inputs[0])
    found = new = np.unique(pairs)
    while len(new):
        output, input_ = np.divmod(new, n_in)
        images = [g_out[output] * n_in + g_in[input_] for g_in, g_out in zip(inputs, outputs)]
        new = np.setdiff1d(np.concatenate(images), found)
        found = np.union1d(found, new)
    return found


def _check_support(support: ArrayLike, n_out: int, n_in: int) -> np.ndarray:
    """Return the connections as numbers output * n_in + input."""
    table = as_array(support)
    fits = table.ndim == 2 and table.shape[1] == 2 and len(table) and table.dtype.kind in "iu"
    if not fits or (table < 0).any() or (table >= [n_out, n_in]).any():
        raise PatternError(
            _WHERE,
            f"support must list pairs (output below {n_out:,}, input below {n_in:,})",
            repr(support)[:60],
            "omit it for all connections",
        )
    return table[:, 0].astype(np.int64) * n_in + table[:, 1]


def _check_memory(pairs: int, got: str) -> None:
    hint = "pass support=, the connections of one output"
    check_fits(PatternError, _WHERE, "the connections", _BYTES_PER_PAIR * pairs, got, hint)
