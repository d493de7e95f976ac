"""Rules for operations that select, write, concatenate or split parts of tensors."""

from dataclasses import replace

import torch
from torch import Tensor

from ..layout import Dim, Layout, drop_margins, make_fixed
from ..tape import Ref
from .elementwise import broadcast
from .operation import Case
from .selected import expand_index


def get_item(case: Case) -> Layout | None:
    """Index with integers, slices and at most one list, which must be for a dimension that no shift moves."""
    layout = case.layout
    index = expand_index(case.step.args[1], len(layout))
    if sum(isinstance(i, list | Tensor) for i in index) > 1:
        return None
    queue = list(layout)
    dims: list[Dim] = []
    for i in index:
        if i is None:
            dims.append(make_fixed(1))
            continue
        dim = queue.pop(0)
        if isinstance(i, int):
            continue
        part = _slice(dim, i) if isinstance(i, slice) else None if dim.moves else make_fixed(len(i))
        if part is None:
            return None
        dims.append(part)
    return (*dims, *queue)


def set_item(case: Case) -> Layout | None:
    """Keep the layout of the tensor that is written into; infer that of a constant from the written part."""
    target, index, part = case.step.args[:3]
    if isinstance(target, Ref):
        return case.layouts[target.number]
    layout = case.layouts[part.number] if isinstance(part, Ref) else None
    if layout is None or len(layout) != len(case.shape):
        return None
    parts = expand_index(index, len(layout))
    if not all(isinstance(i, slice) for i in parts):
        return None
    dims = [_place(dim, n, i) for dim, n, i in zip(layout, case.shape, parts)]
    return tuple(dim for dim in dims if dim is not None) if None not in dims else None


def select(case: Case) -> Layout | None:
    """Remove the dimension from which one index is selected."""
    removed = case.step.get_argument(1, "dim", 0) % len(case.layout)
    return tuple(dim for d, dim in enumerate(case.layout) if d != removed)


def narrow(case: Case) -> Layout | None:
    """Cut a contiguous part out of a dimension."""
    layout = case.layout
    d, start = case.step.get_argument(1, "dim") % len(layout), case.step.get_argument(2, "start")
    part = cut_dim(layout[d], start, start + case.shape[d], 1)
    return None if part is None else _replace_dim(layout, d, part)


def index_select(case: Case) -> Layout | None:
    """Select any elements along a dimension that no shift moves."""
    return _select_fixed(case, case.step.get_argument(1, "dim"))


def sort(case: Case) -> Layout | None:
    """Keep the positions of the other dimensions. Sorted values have none, and their indices are unknown."""
    place = 2 if case.step.op == "topk" else 1
    d = case.step.get_argument(place, "dim", -1) % len(case.layout)
    if case.place and case.layout[d].moves:
        return None
    return _replace_dim(case.layout, d, make_fixed(case.shape[d]))


def split(case: Case) -> Layout | None:
    """Split a dimension that no shift moves."""
    return _select_fixed(case, case.step.get_argument(2, "dim", 0))


def concatenate(case: Case) -> Layout | None:
    """Concatenate channels, or extend positions by what is before and after them."""
    parts, d = case.step.args[0], case.step.get_argument(1, "dim", 0) % len(case.shape)
    layouts = [case.layouts[part.number] if isinstance(part, Ref) else None for part in parts]
    sizes = [(case.values[part.number] if isinstance(part, Ref) else part).shape[d] for part in parts]
    axes = [None if layout is None else _get_axis(layout[d]) for layout in layouts]
    known = [layout for layout in layouts if layout is not None]
    longest = max(range(len(parts)), key=lambda k: -1 if axes[k] is None else sizes[k])
    layout, axis = layouts[longest], axes[longest]
    if layout is None or axis is None:
        fixed = [_replace_dim(layout, d, make_fixed(case.shape[d])) for layout in known]
        return broadcast([(case.shape, layout) for layout in fixed], case.shape)
    first, last = axes.index(axis), len(axes) - 1 - axes[::-1].index(axis)
    before, after = sum(sizes[:first]), sum(sizes[last + 1 :])
    pieces = sizes[first : last + 1]
    dim = _join(case, layout, d, before, sum(pieces), after, sum(sizes[:longest]))
    if dim is None:
        return None
    joins_maps = len(pieces) > 1 and len(set(pieces)) == 1 and pieces[0] > 1 and not any(dim.first.halo)
    return None if joins_maps else _replace_dim(layout, d, dim)


def stack(case: Case) -> Layout | None:
    """Broadcast the layouts of the parts, with an additional dimension."""
    d = case.step.get_argument(1, "dim", 0) % len(case.shape)
    shape = torch.Size([*case.shape[:d], *case.shape[d + 1 :]])
    layout = broadcast(case.list_inputs(), shape)
    return (*layout[:d], make_fixed(case.shape[d]), *layout[d:])


def _join(case: Case, layout: Layout, d: int, before: int, size: int, after: int, start: int) -> Dim | None:
    """Return a dimension in which pieces of an axis are joined, with other elements around them.

    Args:
        case: Concatenation.
        layout: Layout of the longest piece.
        d: Dimension.
        before, size, after: Numbers of elements before, in and after the pieces of the axis.
        start: Number of elements before the longest piece.
    """
    dim = layout[d]
    is_sequence = sum(_get_axis(other) is not None for other in layout) == 1 and d < len(layout) - 1
    if len(dim.factors) > 1 or dim.prefix or (is_sequence and size == dim.size and not after):
        if after or size > dim.size:
            return None
        (plain,) = drop_margins((dim,), halos=True)
        return Dim(plain.factors, dim.prefix + before)  # tokens
    first = dim.first
    margin = (before + first.margin[0] * (start == before), after + first.margin[1])
    low, high = start - before, size - dim.size - (start - before)
    if first.length == first.size and low <= dim.size and high <= dim.size:
        around = case.output.narrow(d, before, size)
        ends = [around.narrow(d, dim.size, low), around.narrow(d, low, high)]
        added = [around.narrow(d, 0, low), around.narrow(d, low + dim.size, high)]
        if all(map(torch.equal, ends, added)):
            return Dim((replace(first, halo=(low, high), margin=margin),))
    if size > dim.size:
        margin, first = (before, after), replace(first, size=size, halo=(0, 0))
    return Dim((replace(first, margin=margin),))


def _get_axis(dim: Dim) -> int | None:
    return next((factor.axis for factor in dim.factors if factor.axis is not None), None)


def _select_fixed(case: Case, d: int) -> Layout | None:
    d = d % len(case.layout)
    return None if case.layout[d].moves else _replace_dim(case.layout, d, make_fixed(case.shape[d]))


def _replace_dim(layout: Layout, d: int, dim: Dim) -> Layout:
    return (*layout[:d], dim, *layout[d + 1 :])


def _place(dim: Dim, size: int, part: slice) -> Dim | None:
    """Return a dimension of a constant, into a part of which a dimension with positions is written."""
    start, stop, step = part.indices(size)
    if _get_axis(dim) is None or dim.size == size:
        return dim if dim.size == size else make_fixed(size)
    if len(dim.factors) > 1 or dim.prefix or any(dim.first.halo) or any(dim.first.margin):
        return None
    if step == 1:
        return Dim((replace(dim.first, margin=(start, size - stop)),))
    return Dim((replace(dim.first, size=size, stride=dim.first.stride / step),))


def _slice(dim: Dim, part: slice) -> Dim | None:
    start, stop, step = part.indices(dim.size)
    return dim if (start, stop, step) == (0, dim.size, 1) else cut_dim(dim, start, stop, step)


def cut_dim(dim: Dim, start: int, stop: int, step: int) -> Dim | None:
    """Return a slice of a dimension; None if its positions cannot be followed."""
    count = len(range(start, stop, step))
    if not dim.moves or stop <= dim.prefix:
        return make_fixed(count)
    if start <= dim.prefix and stop == dim.size and step == 1:
        return Dim(dim.factors, dim.prefix - start)
    if len(dim.factors) > 1 or dim.prefix:
        return None
    first = dim.first
    around = dim.size - first.margin[1]  # first element after the circle and its halo
    margin = (max(0, first.margin[0] - start), max(0, stop - around)) if step == 1 else (0, 0)
    count -= sum(margin)
    size, remainder = divmod(first.size, step)
    is_whole = any(first.halo) and not remainder and count >= size
    halo = (0, count - size) if is_whole else (0, 0)
    factor = replace(
        first, stride=first.stride * step, size=size if is_whole else count, halo=halo, margin=margin
    )
    return Dim((factor,)) if count > 0 else make_fixed(sum(margin))
