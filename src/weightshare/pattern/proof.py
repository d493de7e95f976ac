"""Prove that a pattern commutes with a permutation, or find a connection that breaks it."""

import itertools
from dataclasses import dataclass

import numpy as np

from .data import PatternData

_BLOCK_SIZE = 2**18  # number of connections compared at a time


@dataclass(frozen=True)
class Witness:
    """A connection whose image uses another weight, or an output whose image has another bias.

    Args:
        output: Output of the connection.
        input: Input of the connection; None for a bias.
        weight: Weight id of the connection, or bias id of the output.
        image: Pair (output, input) to which the permutations move the connection.
        image_weight: Weight id of the image; None if it is not a connection, and `weight` itself if fewer
            connections use that weight there.
    """

    output: int
    input: int | None
    weight: int
    image: tuple[int, int | None]
    image_weight: int | None

    def __str__(self) -> str:
        output, input_ = self.image
        if self.input is None:
            image = f"its image, output {output}, has bias {self.image_weight}"
            return f"output {self.output} has bias {self.weight}; {image}"
        weight = "no weight" if self.image_weight is None else f"weight {self.image_weight}"
        fewer = " fewer times" if self.image_weight == self.weight else ""
        return (
            f"output {self.output} uses weight {self.weight} on input {self.input}; "
            f"its image, output {output}, uses {weight} on input {input_}{fewer}"
        )


@dataclass(frozen=True)
class PatternProof:
    """A proof that a pattern is equivariant, or a witness that it is not.

    `bool(proof)` is true only if the pattern is equivariant and has no `note`, because the part of a layer
    that its pattern does not describe, such as the corrections of `LowRank`, may still break equivariance.

    Args:
        holds: Whether the pattern is equivariant for all values of its weights.
        witness: Connection or output that breaks equivariance; None if the pattern is equivariant.
        note: Description of the part of the map that the pattern and the proof leave out; empty if none.
    """

    holds: bool
    witness: Witness | None = None
    note: str = ""

    def __bool__(self) -> bool:
        return self.holds and not self.note

    def __str__(self) -> str:
        verdict = "equivariant for all weights" if self.holds else f"not equivariant: {self.witness}"
        return f"{verdict} ({self.note})" if self.note else verdict


def prove_equivariance(pattern: PatternData, g_in: np.ndarray, g_out: np.ndarray) -> PatternProof:
    """Return the proof for two permutations that have been checked.

    Connections are compared in blocks of outputs, so that a failure is found early.
    """
    output, input_, weight = pattern.edges.T
    ends = np.cumsum(np.bincount(output, minlength=pattern.n_out))
    pairs = pattern.pairs
    cuts = np.unique(np.append(np.searchsorted(ends, np.arange(0, len(pairs), _BLOCK_SIZE)), pattern.n_out))
    for first, last in itertools.pairwise(np.unique(np.append(0, cuts))):
        block = slice(ends[first - 1] if first else 0, ends[last - 1])
        images = g_out[output[block]] * pattern.n_in + g_in[input_[block]]
        there = _connection_indices(ends, np.sort(g_out[first:last]))
        order = np.lexsort((weight[block], images))
        is_equal = np.array_equal(images[order], pairs[there])
        if is_equal and np.array_equal(weight[block][order], weight[there]):
            continue
        missing = find_missing(images, pairs[there], weight[block], weight[there])
        if missing.any():  # otherwise connections are missing in another block
            index = int(missing.argmax())
            witness = _make_witness(pattern, pairs, int(block.start) + index, int(images[index]))
            return PatternProof(False, witness, pattern.note)
    if pattern.bias is not None:
        wrong = np.flatnonzero(pattern.bias[g_out] != pattern.bias)
        if len(wrong):
            o = int(wrong[0])
            image = int(g_out[o])
            witness = Witness(o, None, int(pattern.bias[o]), (image, None), int(pattern.bias[image]))
            return PatternProof(False, witness, pattern.note)
    return PatternProof(True, None, pattern.note)


def _connection_indices(ends: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """Return the indices of the connections of some outputs; those of output o end before `ends[o]`."""
    starts = np.where(outputs > 0, ends[outputs - 1], 0)
    counts = ends[outputs] - starts
    return np.arange(counts.sum()) + np.repeat(starts - np.cumsum(counts) + counts, counts)


def _make_witness(pattern: PatternData, pairs: np.ndarray, index: int, image: int) -> Witness:
    """Return the witness for the connection at `index`, whose image is not a connection of the pattern."""
    output, input_, used = pattern.edges[index].tolist()
    found = pattern.edges[slice(*np.searchsorted(pairs, [image, image + 1])), 2].tolist()
    others = [weight for weight in found if weight != used]
    image_weight = others[0] if others else used if found else None
    return Witness(output, input_, used, divmod(image, pattern.n_in), image_weight)


def find_missing(
    pairs: np.ndarray, other_pairs: np.ndarray, weights: np.ndarray, other_weights: np.ndarray
) -> np.ndarray:
    """Return which connections (pair, weight) occur less often among the others, as booleans."""
    n_weights = int(max(weights.max(initial=0), other_weights.max(initial=0))) + 1
    all_pairs = np.concatenate([pairs, other_pairs])
    all_weights = np.concatenate([weights, other_weights])
    if int(all_pairs.max(initial=0)) < 2**62 // n_weights:
        kinds = np.unique(all_pairs * n_weights + all_weights, return_inverse=True)[1].ravel()
    else:
        kinds = np.unique(np.stack([all_pairs, all_weights], 1), axis=0, return_inverse=True)[1].ravel()
    mine, theirs = kinds[: len(pairs)], kinds[len(pairs) :]
    count = int(kinds.max(initial=-1)) + 1
    is_short = np.bincount(mine, minlength=count) > np.bincount(theirs, minlength=count)
    return is_short[mine]
