"""Decide whether one pattern refines another, whatever the numbering of their weights."""

import numpy as np

from .data import PatternData
from .proof import find_missing


def refines(pattern: PatternData, other: PatternData) -> bool:
    """Return whether some map of weight ids turns `pattern` into `other`.

    Pairs (output, input) with a single connection determine the map. Windows larger than a circular input
    have several connections per pair; the weights that occur only there are found by backtracking, starting
    with those that have the most connections.
    """
    if pattern.edges.shape != other.edges.shape or not np.array_equal(
        pattern.edges[:, :2], other.edges[:, :2]
    ):
        return False
    pairs, expected = pattern.pairs, other.edges[:, 2]
    ids, used = np.unique(pattern.edges[:, 2], return_inverse=True)
    repeats = np.diff(pairs) == 0
    alone = ~(np.append(repeats, False) | np.insert(repeats, 0, False))[: len(pairs)]
    mapping = np.full(len(ids), -1, dtype=np.int64)
    mapping[used[alone]] = expected[alone]
    if (mapping[used[alone]] != expected[alone]).any():
        return False
    unknown = np.flatnonzero(mapping < 0)
    unknown = unknown[np.argsort(-np.bincount(used, minlength=len(ids))[unknown], kind="stable")]
    return _can_complete(mapping, unknown.tolist(), pairs, used, expected)


def _can_complete(
    mapping: np.ndarray, unknown: list[int], pairs: np.ndarray, used: np.ndarray, expected: np.ndarray
) -> bool:
    """Return whether the unknown entries of the mapping can be chosen such that all connections agree.

    Args:
        mapping: Weight of the other pattern for each weight of this one; -1 for unknown. It is overwritten.
        unknown: Weights to choose an entry for, in this order.
        pairs: Pair of each connection.
        used: Weight of each connection in this pattern.
        expected: Weights of the connections in the other pattern, sorted within each pair.
    """
    choices: list[list[int]] = []
    while True:
        known = mapping[used] >= 0
        fits = not find_missing(pairs[known], pairs, mapping[used[known]], expected).any()
        if fits and len(choices) == len(unknown):
            return True
        if fits:
            own_pairs = pairs[used == unknown[len(choices)]]
            choices.append(np.unique(expected[np.isin(pairs, own_pairs)]).tolist())
        while choices and not choices[-1]:
            choices.pop()
            mapping[unknown[len(choices)]] = -1
        if not choices:
            return False
        mapping[unknown[len(choices) - 1]] = choices[-1].pop(0)
