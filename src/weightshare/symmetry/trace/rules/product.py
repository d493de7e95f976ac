"""Rules for linear layers, matrix products and attention."""

from math import prod
from typing import Any

import torch

from ..layout import Dim, Factor, Layout, make_fixed
from ..tape import Ref
from .operation import Case


def apply_linear(case: Case) -> Layout | None:
    """Replace the last dimension by features, unless it holds as many positions as before."""
    return (*case.layout[:-1], _mix(case.layout[-1], case.shape[-1]))


def apply_shared_linear(case: Case) -> Layout | None:
    """Keep the positions in the last dimension if the pattern is equivariant to their shifts."""
    layout = case.layout
    pattern: Any = case.step.module.pattern  # pyright: ignore[reportOptionalMemberAccess]
    before = layout[-1]
    positions = [factor for factor in before.factors if factor.moves]
    channels, remainder = divmod(case.shape[-1], prod(factor.size for factor in positions))
    if not positions or remainder or before.prefix:
        return apply_linear(case)
    after = Dim((Factor(channels), *positions))
    for place in range(len(positions)):
        shifts = (_permute_by_shift(before, place), _permute_by_shift(after, place))
        if not pattern.is_equivariant(*shifts).holds:
            return apply_linear(case)
    return (*layout[:-1], after)


def multiply_matrices(case: Case) -> Layout | None:
    """Take the rows of the first matrix, the columns of the second, and the batch dimensions of both."""
    sides = case.step.args[:2]
    layouts = [case.layouts[side.number] if isinstance(side, Ref) else None for side in sides]
    if any(isinstance(side, Ref) and layout is None for side, layout in zip(sides, layouts)):
        return None
    dims = [make_fixed(n) for n in case.shape]
    for place, layout in enumerate(layouts):
        if layout is None or len(layout) != len(case.shape):
            continue
        for d, dim in enumerate(layout[:-2]):
            if dim.moves:
                dims[d] = dim
        dims[place - 2] = layout[place - 2]
        if not isinstance(sides[1 - place], Ref):  # a weight takes the place of the other dimension
            dims[-1 - place] = _mix(layout[-1 - place], case.shape[-1 - place])
    return tuple(dims)


def attend(case: Case) -> Layout | None:
    """Keep the positions of the query; other outputs, such as the weights, are not followed."""
    layout = case.layout
    if case.place > 0 or len(layout) != len(case.shape):
        return None
    return tuple(dim if dim.moves and dim.size == n else make_fixed(n) for dim, n in zip(layout, case.shape))


def _mix(dim: Dim, size: int) -> Dim:
    """Return a dimension after a weight matrix: positions if there are as many as before, else features."""
    is_axis = dim.size == size and len(dim.factors) == 1 and not dim.prefix
    return dim if is_axis and not any(dim.first.halo) else make_fixed(size)


def _permute_by_shift(dim: Dim, place: int) -> list[int]:
    """Return the permutation of a dimension's elements that a shift of one moving factor by 1 results in."""
    moving = [d for d, factor in enumerate(dim.factors) if factor.moves]
    numbers = torch.arange(dim.size).view([factor.size for factor in dim.factors])
    return numbers.roll(-1, moving[place]).flatten().tolist()
