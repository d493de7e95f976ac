"""Apply the rule of an operation, or measure, to find the layouts of its outputs."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import torch
from torch import Tensor

from ...transforms import UndefinedError
from ..layout import (
    Dim,
    Layout,
    Layouts,
    cut_margins,
    find_smallest_shift,
    make_fixed,
    shift_tensor,
)
from ..movement import find_layout, is_equal
from ..tape import Ref, Step, View, copy_strided
from .indexing import cut_dim
from .operation import Case, Kind
from .selected import (
    JOINS,
    Parts,
    Selected,
    drop_joined,
    find_parts,
    find_selected,
    may_hold_selected,
    restore_selected,
)
from .table import find_operation

#: Exceptions that a rule, or an operation on shifted inputs, may raise for a call that it does not handle.
_ERRORS = (AttributeError, LookupError, NotImplementedError, RuntimeError, TypeError, ValueError)


class Mover:
    """Computes tensors of a model as they would be if the tensors before them were shifted.

    A tensor with a layout is shifted. Any other is computed from the inputs of its operation.

    Args:
        layouts: Layouts of the tensors before a step.
        values: Tensors on the tape.
    """

    def __init__(self, layouts: Layouts, values: Mapping[int, Tensor]):
        self.layouts, self.values = layouts, values
        self.sources: dict[int, tuple[Step, int]] = {}  # of the tensors without a layout
        self.computed: dict[tuple[int, ...], dict[int, Tensor]] = {}
        self.selections: dict[int, frozenset[Selected]] = {}
        self.parts: dict[int, Parts] = {}
        self.uncertain: set[int] = set()  # tensors that may have positions in addition to their layouts

    def add(self, step: Step, found: Sequence[Layout | None]) -> list[Layout | None]:
        """Note that a step computes its outputs, and from which positions.

        Args:
            step: Step on the tape.
            found: Layouts of its outputs according to its rule.

        Returns:
            Layouts of its outputs, with an axis whose positions it joins one by one.
        """
        layout, found = found[0], [*found]
        is_certain = self.uncertain.isdisjoint(step.inputs)
        if step.op in JOINS and layout is not None:
            written = self.parts.get(step.before[0] or 0, {}) if step.before else {}
            shape = [dim.size for dim in layout]
            self.parts[step.outputs[0]] = parts = find_parts(step, shape, written, self.selections)
            restored = restore_selected(layout, parts)
            is_certain = restored is not None and (is_certain or restored != layout)
            found[0] = restored or layout
        inherited = frozenset[Selected]().union(*(self.selections.get(ref, ()) for ref in step.inputs))
        for place, (ref, after) in enumerate(zip(step.outputs, found)):
            selected = inherited | find_selected(step, place, self.layouts[step.inputs[0]])
            self.selections[ref] = drop_joined(selected, after or (), step.op in JOINS)
            self.sources[ref] = (step, place)
        if not is_certain:
            self.uncertain.update(step.outputs)
        return found

    def is_certain(self, ref: int) -> bool:
        """Return whether a tensor has no positions in addition to those of its layout, as far as is known."""
        layout = self.layouts.get(ref)
        if layout is None or ref in self.uncertain:
            return False
        return not may_hold_selected(layout, self.selections.get(ref, ()))

    def find_known(self, refs: Sequence[int]) -> dict[int, Layout]:
        """Return the layouts of some tensors, or of those from which they were computed."""
        known: dict[int, Layout] = {}
        for ref in refs:
            layout = self.layouts.get(ref)
            known |= {ref: layout} if layout is not None else self.find_known(self.sources[ref][0].inputs)
        return known

    def shift(self, refs: Sequence[int], shift: Sequence[int]) -> dict[int, Tensor] | None:
        """Return some tensors for a shift of the input; None if one cannot be computed or shifted."""
        cache = self.computed.setdefault(tuple(shift), {})
        try:
            return {ref: self._shift(ref, shift, cache) for ref in refs}
        except (*_ERRORS, UndefinedError):
            return None

    def _shift(self, ref: int, shift: Sequence[int], cache: dict[int, Tensor]) -> Tensor:
        layout = self.layouts.get(ref)
        if layout is not None:
            return shift_tensor(layout, self.values[ref], shift)
        if ref not in cache:
            step = self.sources[ref][0]
            results = step.run({number: self._shift(number, shift, cache) for number in step.inputs})
            cache.update(zip(step.outputs, results))
        return cache[ref]


def propagate(step: Step, mover: Mover, size: Sequence[int], tolerance: float) -> list[Layout | None]:
    """Return the layouts of the outputs of a step; None for an output that cannot be followed.

    If there is no rule for the call, the operation is computed for shifted inputs, and a layout is accepted
    if it explains all elements of all outputs. If the layout of an input is unknown, the operations before
    this one are computed, too, back to tensors with a known layout.

    Args:
        step: Step on the tape.
        mover: Layouts and values of the tensors before this step.
        size: Spatial size of the input of the model.
        tolerance: Relative differences up to this count as rounding.
    """
    operation = find_operation(step.op)
    cases = [Case(step, operation, place, mover.layouts, mover.values) for place in range(len(step.outputs))]
    found: list[Layout | None] = [_keep_written(case, size, tolerance) for case in cases]
    if all(mover.layouts[ref] is not None for ref in step.inputs):
        found = [layout or _apply_rule(case) for layout, case in zip(found, cases)]
    if None in found:
        results: dict[tuple[int, int], list[Tensor] | None] = {}
        found = [
            layout or _measure(case, mover, size, tolerance, results) for layout, case in zip(found, cases)
        ]
    if operation.kind.is_pool and mover.layouts[step.inputs[0]] is not None:  # the indices may be unknown
        found = [layout or _apply_rule(case) for layout, case in zip(found, cases)]
    if operation.kind is Kind.UNKNOWN:
        found = [layout or _guess_same(case) for layout, case in zip(found, cases)]
    return mover.add(step, found)


def _keep_written(case: Case, size: Sequence[int], tolerance: float) -> Layout | None:
    """Keep the layout of a tensor that is written into, if it has positions."""
    before = case.step.before[case.place] if case.step.before else None
    if before is None:
        return None
    layout = case.layouts[before] if before in case.layouts else _measure_view(case, size, tolerance)
    return layout if layout is not None and any(dim.moves for dim in layout) else None


def _slice_layout(view: View, strides: Sequence[int], layout: Layout) -> Layout | None:
    """Return the layout of a view that is a slice of a tensor with a layout; None if it is another view."""
    if len(view.size) != len(layout):
        return None
    dims: dict[int, Dim | None] = {}
    rest = view.offset
    for d in sorted(range(len(layout)), key=lambda d: -strides[d]):
        start, rest = divmod(rest, strides[d]) if layout[d].size > 1 else (0, rest)
        step, remainder = divmod(view.stride[d], strides[d])
        if (remainder or not step) and view.size[d] > 1:
            return None
        step = max(1, step)
        stop = start + (view.size[d] - 1) * step + 1
        is_whole = view.size[d] == layout[d].size
        dims[d] = layout[d] if is_whole else cut_dim(layout[d], start, stop, step)
    found = [dims[d] for d in range(len(layout))]
    return tuple(dim for dim in found if dim is not None) if None not in found else None


def _measure_view(case: Case, size: Sequence[int], tolerance: float) -> Layout | None:
    """Find the layout of a view of the tensor that is written into."""
    step, view = case.step, case.step.views[case.place]
    root = step.args[0]
    layout = case.layouts[root.number] if isinstance(root, Ref) else None
    if layout is None:
        return None
    sliced = _slice_layout(view, step.strides or (), layout)
    if sliced is not None:
        return sliced
    value = case.values[root.number]

    def compute(axis: int, shift: int) -> Tensor | None:
        by = [shift if a == axis else 0 for a in range(len(size))]
        return view.apply(copy_strided(shift_tensor(layout, value, by), step.strides))

    smallest = find_smallest_shift([layout], [1] * len(size))
    before = view.apply(copy_strided(value, step.strides))
    return find_layout(before, compute, size, smallest, tolerance, {dim.prefix for dim in layout} | {0})


def _apply_rule(case: Case) -> Layout | None:
    if case.step.views and case.place:
        return None
    try:
        layout = case.operation.rule(case)
    except _ERRORS:
        return None
    return layout if layout is not None and tuple(dim.size for dim in layout) == case.shape else None


def _guess_same(case: Case) -> Layout | None:
    """Return a layout with the positions of the first input in the same dimensions; None if they differ."""
    layout = case.layouts[case.step.inputs[0]]
    if layout is None or len(layout) != len(case.shape):
        return None
    if any(dim.moves and dim.size != n for dim, n in zip(layout, case.shape)):
        return None
    return tuple(dim if dim.size == n else make_fixed(n) for dim, n in zip(layout, case.shape))


def _has_moved(refs: Sequence[int], mover: Mover, smallest: Sequence[int]) -> bool:
    """Return whether the smallest shift along each axis changes any of some tensors."""
    for axis, shift in enumerate(smallest):
        by = [shift if a == axis else 0 for a in range(len(smallest))]
        tensors = mover.shift(refs, by)
        if tensors is None or any(not torch.equal(tensors[ref], mover.values[ref]) for ref in refs):
            return True
    return False


def _explains(
    layout: Layout,
    value: Tensor,
    compute: Callable[[int, int], Tensor | None],
    size: Sequence[int],
    smallest: Sequence[int],
    tolerance: float,
) -> bool:
    """Return whether a layout explains a tensor for the smallest shift along each axis."""
    for axis, shift in enumerate(smallest):
        if shift and shift % size[axis]:
            got = compute(axis, shift)
            expected = shift_tensor(layout, value, [shift if a == axis else 0 for a in range(len(size))])
            if got is None or not is_equal(
                cut_margins(layout, expected), cut_margins(layout, got), tolerance
            ):
                return False
    return True


def _measure(
    case: Case,
    mover: Mover,
    size: Sequence[int],
    tolerance: float,
    results: dict[tuple[int, int], list[Tensor] | None],
) -> Layout | None:
    step = case.step
    known = mover.find_known(step.inputs)

    def compute(axis: int, shift: int) -> Tensor | None:
        if (axis, shift) not in results:
            results[axis, shift] = None
            by = [shift if a == axis else 0 for a in range(len(size))]
            has_moved = any(
                not torch.equal(tensor, case.values[ref])
                for ref, tensor in (mover.shift([*known], by) or {}).items()
            )
            tensors = mover.shift(step.inputs, by) if has_moved else None
            if tensors is not None:
                with suppress(*_ERRORS):
                    results[axis, shift] = step.run(tensors)
        computed = results[axis, shift]
        return None if computed is None else computed[case.place]

    smallest = find_smallest_shift([*known.values()], [1] * len(size))
    same = _guess_same(case)
    if same is not None and (
        _explains(same, case.output, compute, size, smallest, tolerance)
        or not _has_moved([*known], mover, smallest)  # nothing can be measured on constant maps
    ):
        return same
    prefixes = {dim.prefix for layout in known.values() for dim in layout}
    return find_layout(case.output, compute, size, smallest, tolerance, {0, *prefixes})
