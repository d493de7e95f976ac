"""From symmetry to sharing: the orbits of connections under permutations of inputs and outputs."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from .._memory import check_fits
from ..errors import PatternError
from .arguments import as_array


def orbits_of(
    inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray], support: Any
) -> tuple[np.ndarray, np.ndarray]:
    """(edges with an id for every orbit, the orbit of every output).

    Args:
        inputs, outputs: For every generator its permutation of the inputs and of the outputs.
        support: Connections to start from; None for all pairs.
    """
    n_in, n_out = len(inputs[0]), len(outputs[0])
    if support is None:
        _check_memory(n_out * n_in * (1 + len(inputs)), f"all {n_out:,} x {n_in:,} connections")
        pairs = np.arange(n_out * n_in)
    else:
        pairs = _grown(_checked(support, n_out, n_in), inputs, outputs)
    output, input_ = np.divmod(pairs, n_in)
    images = [g_out[output] * n_in + g_in[input_] for g_in, g_out in zip(inputs, outputs)]
    if support is not None:
        images = [np.searchsorted(pairs, image) for image in images]
    ids = _components(images, len(pairs))
    return np.stack([output, input_, ids], axis=1), _components(outputs, n_out)


def _components(images: Sequence[np.ndarray], count: int) -> np.ndarray:
    """The orbit of each of `count` elements under maps to other elements, numbered as they first come."""
    start = np.tile(np.arange(count), len(images))
    graph = coo_array((np.ones(len(start), dtype=np.int8), (start, np.concatenate(images))), (count, count))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def _grown(pairs: np.ndarray, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> np.ndarray:
    """All connections that the symmetry makes of the given ones, sorted."""
    n_in = len(inputs[0])
    found = new = np.unique(pairs)
    while len(new):
        output, input_ = np.divmod(new, n_in)
        images = [g_out[output] * n_in + g_in[input_] for g_in, g_out in zip(inputs, outputs)]
        new = np.setdiff1d(np.concatenate(images), found)
        found = np.union1d(found, new)
    return found


def _checked(support: Any, n_out: int, n_in: int) -> np.ndarray:
    """The connections as numbers output * n_in + input."""
    table = as_array(support)
    fits = table.ndim == 2 and table.shape[1] == 2 and len(table) and table.dtype.kind in "iu"
    if not fits or (table < 0).any() or (table >= [n_out, n_in]).any():
        raise PatternError(
            "Pattern.from_symmetry",
            f"support must be connections [(output below {n_out:,}, input below {n_in:,}), ...]",
            repr(support)[:60],
            "leave it out for all connections",
        )
    return table[:, 0].astype(np.int64) * n_in + table[:, 1]


def _check_memory(numbers: int, what: str) -> None:
    check_fits(
        PatternError,
        "Pattern.from_symmetry",
        "the connections",
        55 * numbers,  # measured: the numbers and the graph of their images
        what,
        "give support=, the connections of one output that the layer should have",
    )
