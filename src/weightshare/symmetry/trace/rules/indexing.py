"""Rules for operations that select, write, concatenate or split parts of tensors."""

from dataclasses import replace

import torch
from torch import Tensor

from ..layout import Dim, Layout, make_fixed
from ..tape import Ref
from .elementwise import broadcast
from .operation import Case


def get_item(case: Case) -> Layout | None:
    """Index with integers, slices and at most one list, which must be for a dimension that no shift moves."""
    layout, index = case.layout, case.step.args[1]
    index = index if isinstance(index, tuple) else (index,)
    if sum(isinstance(i, list | Tensor) for i in index) > 1:
        return None
    if any(i is Ellipsis for i in index):
        place = next(k for k, i in enumerate(index) if i is Ellipsis)
        rest = len(layout) - sum(i is not None for i in index) + 1
        index = (*index[:place], *[slice(None)] * rest, *index[place + 1 :])
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
    parts = index if isinstance(index, tuple) else (index,)
    if (
        layout is None
        or len(layout) != len(case.shape)
        or not all(i is Ellipsis or isinstance(i, slice) for i in parts)
    ):
        return None
    if any(dim.moves and dim.size != n for dim, n in zip(layout, case.shape)):
        return None
    return tuple(dim if dim.size == n else make_fixed(n) for dim, n in zip(layout, case.shape))


def select(case: Case) -> Layout | None:
    """Remove the dimension from which one index is selected."""
    removed = case.step.get_argument(1, "dim", 0) % len(case.layout)
    return tuple(dim for d, dim in enumerate(case.layout) if d != removed)


def narrow(case: Case) -> Layout | None:
    """Cut a contiguous part out of a dimension."""
    layout = case.layout
    d, start = case.step.get_argument(1, "dim") % len(layout), case.step.get_argument(2, "start")
    part = _cut(layout[d], start, start + case.shape[d], 1)
    return None if part is None else _replace_dim(layout, d, part)


def index_select(case: Case) -> Layout | None:
    """Select any elements along a dimension that no shift moves."""
    return _select_fixed(case, case.step.get_argument(1, "dim"))


def split(case: Case) -> Layout | None:
    """Split a dimension that no shift moves."""
    return _select_fixed(case, case.step.get_argument(2, "dim", 0))


def concatenate(case: Case) -> Layout | None:
    """Concatenate channels, or extend the positions of the longest part by those before and after it."""
    parts, d = case.step.args[0], case.step.get_argument(1, "dim", 0) % len(case.shape)
    layouts = [case.layouts[part.number] if isinstance(part, Ref) else None for part in parts]
    sizes = [(case.values[part.number] if isinstance(part, Ref) else part).shape[d] for part in parts]
    longest = max(range(len(parts)), key=lambda k: bool((dims := layouts[k]) and dims[d].moves) * sizes[k])
    found = layouts[longest]
    if found is None or not found[d].moves:
        shapes = [
            (case.shape, _replace_dim(layout, d, make_fixed(case.shape[d]))) for layout in layouts if layout
        ]
        return broadcast(shapes, case.shape)
    if sizes.count(sizes[longest]) > 1:
        return None  # it joins two maps end to end
    before, after = sum(sizes[:longest]), sum(sizes[longest + 1 :])
    dim = _extend(case, found, d, before, after)
    return None if dim is None else _replace_dim(found, d, dim)


def stack(case: Case) -> Layout | None:
    """Broadcast the layouts of the parts, with an additional dimension."""
    d = case.step.get_argument(1, "dim", 0) % len(case.shape)
    shape = torch.Size([*case.shape[:d], *case.shape[d + 1 :]])
    layout = broadcast(case.list_inputs(), shape)
    return (*layout[:d], make_fixed(case.shape[d]), *layout[d:])


def _extend(case: Case, layout: Layout, d: int, before: int, after: int) -> Dim | None:
    """Return a dimension of a layout after its positions were extended by other elements."""
    dim = layout[d]
    is_sequence = sum(other.moves for other in layout) == 1 and d < len(layout) - 1
    if len(dim.factors) > 1 or dim.prefix or (is_sequence and not after):
        return None if after else Dim(dim.factors, dim.prefix + before)  # tokens
    size = dim.size
    original = case.output.narrow(d, before, size)
    ends = [
        original.narrow(d, max(0, size - before), min(before, size)),
        original.narrow(d, 0, min(after, size)),
    ]
    added = [case.output.narrow(d, 0, before), case.output.narrow(d, before + size, after)]
    if dim.first.length == dim.first.size and all(map(torch.equal, ends, added)):
        return Dim((replace(dim.first, halo=(before, after)),))
    low, high = dim.first.margin
    return Dim((replace(dim.first, margin=(low + before, high + after)),))


def _select_fixed(case: Case, d: int) -> Layout | None:
    d = d % len(case.layout)
    return None if case.layout[d].moves else _replace_dim(case.layout, d, make_fixed(case.shape[d]))


def _replace_dim(layout: Layout, d: int, dim: Dim) -> Layout:
    return (*layout[:d], dim, *layout[d + 1 :])


def _slice(dim: Dim, part: slice) -> Dim | None:
    start, stop, step = part.indices(dim.size)
    return dim if (start, stop, step) == (0, dim.size, 1) else _cut(dim, start, stop, step)


def _cut(dim: Dim, start: int, stop: int, step: int) -> Dim | None:
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
