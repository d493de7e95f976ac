"""Positions that are selected one by one and joined again, as in a loop over the columns of a map."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import mean
from typing import Any

from ..layout import Dim, Factor, Layout, drop_margins
from ..tape import Ref, Step


@dataclass(frozen=True)
class Selected:
    """One position of an axis from which a tensor was computed."""

    factor: Factor
    index: int


#: Selected positions from which a tensor was computed, by its number on the tape.
Selections = Mapping[int, frozenset[Selected]]


def expand_index(index: Any, dims: int) -> tuple[Any, ...]:
    """Return one index for each dimension, and None for each additional one, without an ellipsis."""
    parts = index if isinstance(index, tuple) else (index,)
    rest = [slice(None)] * (dims - sum(part is not None and part is not Ellipsis for part in parts))
    place = next((k for k, part in enumerate(parts) if part is Ellipsis), None)
    return (*parts, *rest) if place is None else (*parts[:place], *rest, *parts[place + 1 :])


def find_selected(step: Step, place: int, layout: Layout | None) -> frozenset[Selected]:
    """Return the positions that a step selects for one of its outputs, from a tensor with a layout."""
    if layout is None:
        return frozenset()
    if step.op == "getitem":
        parts = [part for part in expand_index(step.args[1], len(layout)) if part is not None]
        chosen = [(dim, part) for dim, part in zip(layout, parts) if type(part) is int]
    elif step.op in ("select", "unbind"):
        dim = layout[step.get_argument(1, "dim", 0)]
        chosen = [(dim, place if step.op == "unbind" else step.get_argument(2, "index"))]
    else:
        return frozenset()
    pairs = zip(drop_margins(tuple(dim for dim, _ in chosen), halos=True), (index for _, index in chosen))
    return frozenset(
        Selected(dim.first, index % dim.size)
        for dim, index in pairs
        if dim.moves and len(dim.factors) == 1 and not dim.prefix
    )


def restore_selected(step: Step, d: int, layout: Layout, selections: Selections) -> Layout:
    """Return the layout of joined parts, with the positions of an axis if each part is computed from its own.

    Args:
        step: Step that stacks or concatenates parts.
        d: Dimension in which they are joined.
        layout: Layout of the result according to the rule of the step.
        selections: Positions from which the tensors were computed.
    """
    parts: Sequence[Any] = step.args[0]
    if layout[d].moves or layout[d].size != len(parts) or not all(isinstance(part, Ref) for part in parts):
        return layout
    sets = [selections.get(part.number, frozenset()) for part in parts]
    for factor in {selected.factor for selected in sets[0]}:
        indices = [frozenset(s.index for s in found if s.factor == factor) for found in sets]
        if len(set(indices)) == len(parts) == factor.size and all(indices):
            sign = 1 if mean(indices[0]) < mean(indices[-1]) else -1
            dim = Dim((replace(factor, stride=sign * factor.stride),))
            return (*layout[:d], dim, *layout[d + 1 :])
    return layout
