"""Whether a pattern commutes with a permutation: a comparison of integers, and a witness where it fails."""

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

_BLOCK = 2**18  # connections that are compared at once


@dataclass(frozen=True)
class Witness:
    """A connection whose image uses another weight, or an output whose image has another bias.

    Args:
        output, input: The connection; `input` is None for a bias.
        weight: Its weight (or bias) id.
        image: The (output, input) that the permutations make of it.
        image_weight: The id there; None where there is no connection, and `weight` itself where that is used
            by fewer connections there.
    """

    output: int
    input: int | None
    weight: int
    image: tuple[int, int | None]
    image_weight: int | None

    def __str__(self) -> str:
        output, input_ = self.image
        if self.input is None:
            there = f"its image output {output} bias {self.image_weight}"
            return f"output {self.output} has bias {self.weight}, {there}"
        there = "no weight" if self.image_weight is None else f"weight {self.image_weight}"
        fewer = " fewer times" if self.image_weight == self.weight else ""
        return (
            f"output {self.output} uses weight {self.weight} on input {self.input}, "
            f"its image output {output} uses {there} on input {input_}{fewer}"
        )


@dataclass(frozen=True)
class PatternProof:
    """Whether a pattern is equivariant; true in a condition where it is and leaves nothing out.

    Args:
        holds: For all weights, exactly, of the part that is in the pattern.
        witness: What breaks it; None where it holds.
        note: What the pattern leaves out, to which the proof does not extend. With one the proof is false in
            a condition even where it holds: the corrections of `LowRank` may break what its kernel keeps.
    """

    holds: bool
    witness: Witness | None = None
    note: str = ""

    def __bool__(self) -> bool:
        return self.holds and not self.note

    def __str__(self) -> str:
        note = f" ({self.note})" if self.note else ""
        return (
            f"equivariant, whatever the weights{note}"
            if self.holds
            else f"not equivariant: {self.witness}{note}"
        )


def compared(pattern: Any, g_in: np.ndarray, g_out: np.ndarray) -> PatternProof:
    """The proof for checked permutations, by blocks of outputs so that a failure is found early."""
    output, input_, weight = pattern.edges.T
    ends = np.cumsum(np.bincount(output, minlength=pattern.n_out))
    own = output * pattern.n_in + input_
    cuts = np.unique(np.append(np.searchsorted(ends, np.arange(0, len(own), _BLOCK)), pattern.n_out))
    for first, last in itertools.pairwise(np.unique(np.append(0, cuts))):
        block = slice(ends[first - 1] if first else 0, ends[last - 1])
        image = g_out[output[block]] * pattern.n_in + g_in[input_[block]]
        there = _connections(ends, np.sort(g_out[first:last]))
        order = np.lexsort((weight[block], image))
        same = np.array_equal(image[order], own[there])
        if same and np.array_equal(weight[block][order], weight[there]):
            continue
        lacking = missing(image, own[there], weight[block], weight[there])
        if lacking.any():  # else there are more connections there, so fewer elsewhere
            place = int(lacking.argmax())
            return PatternProof(
                False, _witness(pattern, own, int(block.start) + place, image[place]), pattern.note
            )
    if pattern.bias is not None:
        wrong = np.flatnonzero(pattern.bias[g_out] != pattern.bias)
        if len(wrong):
            o = int(wrong[0])
            there = int(g_out[o])
            found = Witness(o, None, int(pattern.bias[o]), (there, None), int(pattern.bias[there]))
            return PatternProof(False, found, pattern.note)
    return PatternProof(True, None, pattern.note)


def _connections(ends: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """The places of the connections of some outputs."""
    starts = np.where(outputs > 0, ends[outputs - 1], 0)
    counts = ends[outputs] - starts
    return np.arange(counts.sum()) + np.repeat(starts - np.cumsum(counts) + counts, counts)


def _witness(pattern: Any, own: np.ndarray, place: int, image: Any) -> Witness:
    """Of a connection whose image is none of the pattern's connections."""
    output, input_, used = pattern.edges[place].tolist()
    found = pattern.edges[slice(*np.searchsorted(own, [image, image + 1])), 2].tolist()
    others = [weight for weight in found if weight != used]
    there = others[0] if others else used if found else None
    return Witness(output, input_, used, divmod(int(image), pattern.n_in), there)


def missing(
    pairs: np.ndarray, others: np.ndarray, weight: np.ndarray, other_weight: np.ndarray
) -> np.ndarray:
    """Which of the connections (pair, weight) are not among the others, counted as often as they stand."""
    kinds = int(max(weight.max(initial=0), other_weight.max(initial=0))) + 1
    both, ids = np.concatenate([pairs, others]), np.concatenate([weight, other_weight])
    if int(both.max(initial=0)) < 2**62 // kinds:
        kinds = np.unique(both * kinds + ids, return_inverse=True)[1].ravel()
    else:
        kinds = np.unique(np.stack([both, ids], 1), axis=0, return_inverse=True)[1].ravel()
    mine, theirs = kinds[: len(pairs)], kinds[len(pairs) :]
    count = int(kinds.max(initial=-1)) + 1
    short = np.bincount(mine, minlength=count) > np.bincount(theirs, minlength=count)
    return short[mine]
