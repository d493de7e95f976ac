"""Whether what shares in one pattern shares in another, whatever the ids."""

from typing import Any

import numpy as np

from .proof import missing


def refined(pattern: Any, other: Any) -> bool:
    """What `Pattern.refines` says: whether some map of ids makes the one pattern of the other.

    Where a connection is the only one of its output and input the map is known. The rest, of windows larger
    than a circular input, is searched for, weights with the most connections first.
    """
    if pattern.edges.shape != other.edges.shape or not np.array_equal(
        pattern.edges[:, :2], other.edges[:, :2]
    ):
        return False
    pairs, weight, expected = (
        pattern.edges[:, 0] * pattern.n_in + pattern.edges[:, 1],
        pattern.edges[:, 2],
        other.edges[:, 2],
    )
    ids, own = np.unique(weight, return_inverse=True)
    same = np.diff(pairs) == 0
    alone = ~(np.append(same, False) | np.insert(same, 0, False))[: len(pairs)]
    to = np.full(len(ids), -1, dtype=np.int64)
    to[own[alone]] = expected[alone]
    if (to[own[alone]] != expected[alone]).any():
        return False
    left = np.flatnonzero(to < 0)
    left = left[np.argsort(-np.bincount(own, minlength=len(ids))[left], kind="stable")]
    return _found(pairs, own, expected, to, left.tolist())


def _found(pairs: np.ndarray, own: np.ndarray, expected: np.ndarray, to: np.ndarray, left: list[int]) -> bool:
    """Whether the map can be completed, one choice after the other and the last one back where it cannot."""
    choices: list[list[int]] = []
    while True:
        known = to[own] >= 0
        fits = not missing(pairs[known], pairs, to[own[known]], expected).any()
        if fits and len(choices) == len(left):
            return True
        if fits:
            places = pairs[own == left[len(choices)]]
            choices.append(np.unique(expected[np.isin(pairs, places)]).tolist())
        while choices and not choices[-1]:
            choices.pop()
            to[left[len(choices)]] = -1
        if not choices:
            return False
        to[left[len(choices) - 1]] = choices[-1].pop(0)
