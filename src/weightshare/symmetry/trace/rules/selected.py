"""Positions that are selected one by one and joined again, as in a loop over the columns of a map."""

from collections.abc import Collection, Mapping, Sequence
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


#: Operations that join tensors, of which each may be computed from one position.
JOINS = ("stack", "cat", "setitem")

#: Selected positions from which a tensor was computed, by its number on the tape.
Selections = Mapping[int, frozenset[Selected]]

#: Selected positions from which the parts of a tensor were computed, by their dimension and index in it.
Parts = Mapping[tuple[int, int], frozenset[Selected]]


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
        chosen = [(dim, _list_indices(part, dim.size)) for dim, part in zip(layout, parts)]
    elif step.op in ("select", "unbind"):
        index = place if step.op == "unbind" else step.get_argument(2, "index")
        chosen = [(layout[step.get_argument(1, "dim", 0)], (index,))]
    elif step.op == "narrow":
        start = step.get_argument(2, "start")
        stop = start + step.get_argument(3, "length")
        chosen = [(layout[step.get_argument(1, "dim")], range(start, stop))]
    else:
        return frozenset()
    dims = drop_margins(tuple(dim for dim, _ in chosen), halos=True)
    return frozenset(
        Selected(dim.first, index % dim.size)
        for dim, (_, indices) in zip(dims, chosen)
        if dim.moves and len(dim.factors) == 1 and not dim.prefix and len(indices) < dim.size
        for index in indices
    )


def find_parts(step: Step, shape: Sequence[int], written: Parts, selections: Selections) -> Parts:
    """Return the parts that a step joins, one for each index of a dimension.

    Args:
        step: Step that stacks or concatenates tensors, or writes one into another.
        shape: Shape of the result.
        written: Parts that were written into the same tensor before.
        selections: Positions from which the tensors were computed.
    """
    if step.op != "setitem":
        tensors: Sequence[Any] = step.args[0]
        d = step.get_argument(1, "dim", 0) % len(shape)
        return {(d, k): _get_selected(tensor, selections) for k, tensor in enumerate(tensors)}
    index = [part for part in expand_index(step.args[1], len(shape)) if part is not None]
    selected = _get_selected(step.args[2], selections)
    new = {(d, part % shape[d]): selected for d, part in enumerate(index) if type(part) is int}
    return {**written, **new}


def restore_selected(layout: Layout, parts: Parts) -> Layout | None:
    """Return the layout of joined parts, with the positions of an axis if each part is computed from its own.

    The result is None if the parts are computed from different positions, but not from each in turn.

    Args:
        layout: Layout of the result according to the rule of the step.
        parts: Parts that were joined.
    """
    is_certain = True
    for d in {d for d, _ in parts}:
        size = layout[d].size
        sets = [parts[key] for key in sorted(parts) if key[0] == d]
        for factor in {selected.factor for found in sets for selected in found}:
            indices = [frozenset(s.index for s in found if s.factor == factor) for found in sets]
            if layout[d].moves or len({*indices} - {frozenset()}) < 2:
                continue
            is_certain = False
            step = _find_step(indices, factor.size) if len(indices) == size else 0
            if step:
                dim = Dim((replace(factor, size=size, stride=step * factor.stride),))
                return (*layout[:d], dim, *layout[d + 1 :])
    return layout if is_certain else None


def drop_joined(selected: Collection[Selected], layout: Layout, is_join: bool) -> frozenset[Selected]:
    """Return the selected positions without those of an axis that is joined again.

    Args:
        selected: Positions from which a tensor was computed.
        layout: Layout of the tensor.
        is_join: Whether the last step joined it.
    """
    axes = {factor.axis for dim in layout for factor in dim.factors if factor.moves}
    joined = {
        one.factor
        for one in selected
        if one.factor.axis in axes
        and (is_join or sum(other.factor == one.factor for other in selected) == one.factor.size)
    }
    return frozenset(one for one in selected if one.factor not in joined)


def may_hold_selected(layout: Layout, selected: Collection[Selected]) -> bool:
    """Return whether a dimension that no shift moves may hold positions that were selected one by one."""
    axes = {factor.axis for dim in layout for factor in dim.factors if factor.moves}
    sizes = {one.factor.size for one in selected if one.factor.axis not in axes}
    return any(not dim.moves and dim.size in sizes for dim in layout)


def _list_indices(part: Any, size: int) -> Sequence[int]:
    """Return the indices that an integer or a slice selects; all indices for anything else."""
    if isinstance(part, slice):
        return range(size)[part]
    return (part,) if type(part) is int else range(size)


def _get_selected(tensor: Any, selections: Selections) -> frozenset[Selected]:
    return selections.get(tensor.number, frozenset()) if isinstance(tensor, Ref) else frozenset()


def _find_step(indices: Sequence[frozenset[int]], size: int) -> int:
    """Return the distance on an axis between parts that are next to each other; 0 if it is not constant.

    The parts together must reach around the axis. Each is computed from as many positions as the next, or
    from all positions up to its own, as in a recurrence.
    """
    if len(set(indices)) < len(indices) or not all(indices):
        return 0
    first = indices[0]
    for distance in range(1, size):
        reaches_around = len(indices) > 2 and len(indices) * distance + len(first) > size
        if not reaches_around and len(indices) * distance != size:
            continue
        for step in (distance, -distance):
            if all(
                found == {(index + step * k) % size for index in first} for k, found in enumerate(indices)
            ):
                return step
    if len(indices) == size:
        return 1 if mean(first) < mean(indices[-1]) else -1
    return 0
