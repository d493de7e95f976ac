"""Whether a pattern commutes with a permutation: a comparison of integers, and a witness where it fails."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Witness:
    """A connection whose image uses another weight, or an output whose image has another bias.

    Args:
        output, input: The connection; `input` is None for a bias.
        weight: Its weight (or bias) id.
        image: The (output, input) that the permutations make of it.
        image_weight: The id there; None where there is no connection.
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
        return (
            f"output {self.output} uses weight {self.weight} on input {self.input}, "
            f"its image output {output} uses {there} on input {input_}"
        )


@dataclass(frozen=True)
class PatternProof:
    """Whether a pattern is equivariant; true in a condition where it is.

    Args:
        holds: For all weights, exactly.
        witness: What breaks it; None where it holds.
        note: What the pattern leaves out, to which the proof does not extend.
    """

    holds: bool
    witness: Witness | None = None
    note: str = ""

    def __bool__(self) -> bool:
        return self.holds

    def __str__(self) -> str:
        note = f" ({self.note})" if self.note else ""
        return (
            f"equivariant, whatever the weights{note}"
            if self.holds
            else f"not equivariant: {self.witness}{note}"
        )


def compared(pattern: Any, g_in: np.ndarray, g_out: np.ndarray) -> PatternProof:
    """The proof for checked permutations."""
    output, input_, weight = pattern.edges.T
    image = g_out[output] * pattern.n_in + g_in[input_]
    own = output * pattern.n_in + input_
    order = np.lexsort((weight, image))
    if not (np.array_equal(image[order], own) and np.array_equal(weight[order], weight)):
        return PatternProof(False, _witness(pattern, own, image), pattern.note)
    if pattern.bias is not None:
        wrong = np.flatnonzero(pattern.bias[g_out] != pattern.bias)
        if len(wrong):
            o = int(wrong[0])
            there = int(g_out[o])
            found = Witness(o, None, int(pattern.bias[o]), (there, None), int(pattern.bias[there]))
            return PatternProof(False, found, pattern.note)
    return PatternProof(True, None, pattern.note)


def _witness(pattern: Any, own: np.ndarray, image: np.ndarray) -> Witness:
    """The first connection whose image is none of the pattern's connections."""
    weight = pattern.edges[:, 2]
    place = int(np.flatnonzero(missing(image, own, weight, weight))[0])
    output, input_, used = pattern.edges[place].tolist()
    there = divmod(int(image[place]), pattern.n_in)
    found = np.flatnonzero(own == image[place])
    others = [int(weight[f]) for f in found if weight[f] != used]
    return Witness(output, input_, used, there, others[0] if others else None)


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
