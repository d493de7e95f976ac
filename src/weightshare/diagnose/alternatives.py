"""Other sharings for a layer that is relaxed: which ones are tried, and which one is suggested."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .._memory import get_free_bytes
from ..sharing import LowRank, Mapped, Sharing
from .deviations import Deviations, list_sharings
from .runner import Runner, run_alternatives
from .verdict import Folds, Gain, Rule, compare_all, find_best

#: Copies of the weights in training: values, gradients and two moments of Adam, as 32-bit numbers.
_BYTES = 4 * 4
#: Part of the largest gain that is enough. In short training, gains also depend on how fast weights change.
_MOST = 2 / 3


@dataclass(frozen=True)
class Alternative:
    """A sharing that could replace the one kernel of a layer.

    Args:
        sharing: The sharing.
        extra_parameters: Number of parameters that it adds to the layer.
        share: Part of the wanted changes that it can express, from the gradients; None if it is unknown.
        gain: Gain over the best control; None if it was not tried.
    """

    sharing: Sharing
    extra_parameters: int
    share: float | None
    gain: Gain | None

    def to_dict(self) -> dict[str, Any]:
        """Return the alternative as a JSON object, with the labels of a `Mapped` sharing as a nested list."""
        gain = None if self.gain is None else vars(self.gain)
        values = {**vars(self), "sharing": str(self.sharing), "gain": gain}
        if isinstance(self.sharing, Mapped):
            values["labels"] = np.reshape(self.sharing.flat, self.sharing.shape).tolist()
        return values


def list_options(
    found: Deviations, tried: LowRank, parameters: tuple[int, int], folds: int
) -> dict[Alternative, tuple[Sharing, ...]]:
    """Return alternatives to the sharing that was tried, and what is trained for each of them in each fold.

    These are half and twice the rank, one kernel per region or along some axes, regions of positions that
    want similar changes, and one kernel per position. The regions of a fold do not depend on the examples on
    which it is judged.

    Args:
        parameters: Number of weights of one kernel, and of the biases.
    """
    size, most = found.map.shape, found.left.shape[1]
    ranks = sorted({max(1, tried.rank // 2), min(most, 2 * tried.rank)} - {tried.rank})
    same = [*map(LowRank, ranks), *list_sharings(size)]
    trained: dict[Sharing, tuple[Sharing, ...]] = {sharing: (sharing,) * folds for sharing in same}
    first, second, both = found.clusters
    clusters = (first, second) if folds == 2 else (both,)
    if all(sharing.banks(size) > 1 for sharing in (*clusters, both)):
        trained[both] = clusters
    return {
        Alternative(one, count_added(one, size, parameters), found.shares.get(one), None): ones
        for one, ones in trained.items()
    }


def count_added(sharing: Sharing, size: Sequence[int], parameters: tuple[int, int]) -> int:
    """Return the number of parameters that a sharing adds to a layer.

    Args:
        sharing: New sharing of a layer with one kernel.
        size: Number of positions per axis.
        parameters: Number of weights of one kernel, and of the biases.
    """
    kernel, biases = parameters
    if isinstance(sharing, LowRank):
        coefficients = sum(int(np.prod(shape)) for shape in sharing.coefficient_shapes(size).values())
        return sharing.rank * kernel + coefficients
    return (sharing.banks(size) - 1) * (kernel + biases)


def try_alternatives(
    runner: Runner,
    options: Mapping[str, Mapping[Alternative, Sequence[Sharing]]],
    losses: Mapping[str, Mapping[str, Folds]],
    rule: Rule,
) -> dict[str, tuple[Alternative, ...]]:
    """Train the alternatives that fit in memory, and return all with their gains.

    Args:
        options: What to train in each fold, by layer and alternative.
        losses: Losses by layer, candidate and fold.
    """
    free = get_free_bytes()
    trained = run_alternatives(
        runner,
        {
            name: {
                one.sharing: folds
                for one, folds in ones.items()
                if free is None or one.extra_parameters * _BYTES < free
            }
            for name, ones in options.items()
        },
    )

    def measure(name: str, sharing: Sharing) -> Gain | None:
        if sharing not in trained[name]:
            return None
        compared = compare_all({**losses[name], "relax": trained[name][sharing]}, len(losses), rule)
        return find_best(compared) if compared else None

    return {
        name: tuple(replace(one, gain=measure(name, one.sharing)) for one in ones)
        for name, ones in options.items()
    }


def choose(alternatives: Iterable[Alternative], rule: Rule) -> Alternative:
    """Return the alternative with the fewest parameters among those with most of the largest gain.

    At least one gain must be above the threshold of the rule.
    """
    gains = {one: one.gain.value for one in alternatives if one.gain is not None}
    least = max(rule.threshold, _MOST * max(gains.values()))
    return min((one for one, gain in gains.items() if gain >= least), key=lambda one: one.extra_parameters)
