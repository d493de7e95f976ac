"""Rules for operations that reshape, permute or reduce dimensions."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from math import prod

import torch
from torch import Tensor

from ..layout import Dim, Factor, Layout, drop_margins, make_fixed
from ..tape import Ref
from .elementwise import keep_layout
from .operation import Case


def reshape(case: Case) -> Layout | None:
    """Regroup the factors of consecutive dimensions whose total size is the same before and after."""
    if case.step.op == "unsqueeze":  # other dimensions of size 1 may have an axis
        d = case.step.get_argument(1, "dim") % len(case.shape)
        return (*case.layout[:d], make_fixed(1), *case.layout[d:])
    before, after = list(drop_margins(case.layout)), list(case.shape)
    dims: list[Dim] = []
    while before or after:
        old, new = before[:1], after[:1]
        before, after = before[1:], after[1:]
        while prod(dim.size for dim in old) != prod(new):
            if prod(dim.size for dim in old) < prod(new):
                old.append(before.pop(0))
            else:
                new.append(after.pop(0))
        if len(old) == len(new) == 1:
            dims += old
        else:
            regrouped = _regroup(old, new)
            if regrouped is None:
                return None
            dims += regrouped
    return tuple(dims)


def permute(case: Case) -> Layout | None:
    """Reorder the dimensions; the strides of an empty tensor show the order."""
    empty = torch.empty([n + 1 for n in case.in_shape], device="meta")
    (after,) = case.step.run({case.step.inputs[0]: empty})
    by_stride = {stride: d for d, stride in enumerate(empty.stride())}
    return tuple(case.layout[by_stride[stride]] for stride in after.stride())


def reduce(case: Case) -> Layout | None:
    """Remove the reduced dimensions, or keep them with size 1."""
    layout, given = case.layout, case.operation.read(case.step, "dim")
    if isinstance(given, Tensor | Ref):  # the larger one of two tensors, element by element
        return keep_layout(case)
    if given is None or isinstance(given, bool):
        return tuple(make_fixed(n) for n in case.shape) if prod(case.shape) == 1 else None
    reduced = {d % len(layout) for d in (given if isinstance(given, Sequence) else [given])}
    if len(case.shape) == len(layout):
        return tuple(make_fixed(1) if d in reduced else dim for d, dim in enumerate(layout))
    return tuple(dim for d, dim in enumerate(layout) if d not in reduced)


def add_classes(case: Case) -> Layout | None:
    """Add a last dimension that no shift moves."""
    return (*case.layout, make_fixed(case.shape[-1]))


def shuffle(case: Case) -> Layout | None:
    """Divide the strides of the last two dimensions by those of the pixels that channels become."""
    return _scale_last(case, case.in_shape, case.shape)


def repeat_each(case: Case) -> Layout | None:
    """Divide the stride of a dimension by the number of times that each of its elements is repeated."""
    repeats, d = case.step.get_argument(1, "repeats"), case.step.get_argument(2, "dim")
    return (
        _scale_last(case, case.in_shape, case.shape) if isinstance(repeats, int) and d is not None else None
    )


def _scale_last(case: Case, before: Sequence[int], after: Sequence[int]) -> Layout | None:
    """Divide the strides by the ratio of the sizes; dimensions that no shift moves may have any size."""
    dims: list[Dim] = []
    for dim, n, m in zip(drop_margins(case.layout, halos=True), before, after):
        if n == m or not dim.moves:
            dims.append(dim if n == m else make_fixed(m))
        elif len(dim.factors) > 1 or dim.prefix:
            return None
        else:
            dims.append(Dim((replace(dim.first, size=m, stride=dim.first.stride * Fraction(n, m)),)))
    return tuple(dims) if len(dims) == len(after) else None


def flip(case: Case) -> Layout | None:
    """Reverse the direction in which the positions of some dimensions move."""
    layout = drop_margins(case.layout)
    given = case.step.args[1:] or (case.step.kwargs["dims"],)
    given = given[0] if isinstance(given[0], Sequence) else given
    dims = {d % len(layout) for d in given}
    if any(layout[d].moves and (len(layout[d].factors) > 1 or layout[d].prefix) for d in dims):
        return None
    return tuple(
        Dim((replace(dim.first, stride=-dim.first.stride),)) if d in dims and dim.moves else dim
        for d, dim in enumerate(layout)
    )


def _regroup(old: Sequence[Dim], new: Sequence[int]) -> list[Dim] | None:
    """Distribute the factors of some dimensions over dimensions of other sizes.

    If an axis is split, for example into windows, only its first part moves. Its stride is the length of the
    remaining parts.
    """
    if any(dim.prefix for dim in old if dim.moves):
        return None
    old = drop_margins(tuple(old), halos=True)
    queue = [factor for dim in old for factor in dim.factors if factor.length != 1]
    dims: list[Dim] = []
    for n in new:
        factors: list[Factor] = []
        while prod(factor.size for factor in factors) < n and queue:
            room, factor = n // prod(factor.size for factor in factors), queue.pop(0)
            if factor.size > room:
                rest, remainder = divmod(factor.size, room)
                if remainder:
                    return None
                axis = factor.part_of if factor.axis is None else factor.axis
                queue.insert(0, Factor(rest, None, factor.stride, part_of=axis))
                factor = replace(factor, size=room, stride=factor.stride * rest)
            factors.append(factor)
            if len(factors) > 1 and _can_merge(*factors[-2:]):
                inner, outer = factors.pop(), factors.pop()
                factors.append(replace(outer, size=outer.size * inner.size, stride=inner.stride))
        dims.append(Dim(tuple(factors) or (Factor(1),)))
    return dims


def _can_merge(outer: Factor, inner: Factor) -> bool:
    """Return whether two factors are the windows of an axis and the positions inside a window."""
    axis = outer.part_of if outer.axis is None else outer.axis
    return axis is not None and axis == inner.part_of and outer.stride == inner.stride * inner.size
