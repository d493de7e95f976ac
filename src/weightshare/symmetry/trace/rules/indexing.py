"""Rules for operations that select, write, concatenate or split parts of tensors."""

from dataclasses import replace

from torch import Tensor

from ..layout import Dim, Layout, make_fixed
from ..tape import Ref
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
    """Concatenate channels, or add tokens that no shift moves before those that it moves."""
    parts, d = case.step.args[0], case.step.get_argument(1, "dim", 0) % len(case.shape)
    found, prefix = None, 0
    for part in parts:
        layout = case.layouts[part.number] if isinstance(part, Ref) else None
        size = (case.values[part.number] if isinstance(part, Ref) else part).shape[d]
        if isinstance(part, Ref) and layout is None:
            return None
        if found is not None and (found[d].moves or (layout is not None and layout[d].moves)):
            return None  # it joins two maps end to end
        if layout is not None and any(dim.moves for dim in layout):
            found = layout if found is None else found
        elif found is None:
            prefix += size
    if found is None:
        return tuple(make_fixed(n) for n in case.shape)
    if not found[d].moves:
        return _replace_dim(found, d, make_fixed(case.shape[d]))
    return _replace_dim(found, d, Dim(found[d].factors, found[d].prefix + prefix))


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
    if len(dim.factors) > 1 or dim.prefix or any(dim.first.halo) or any(dim.first.margin):
        return None
    return Dim((replace(dim.first, size=count, stride=dim.first.stride * step),))
