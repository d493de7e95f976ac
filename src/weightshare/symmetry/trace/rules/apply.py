"""Apply the rule of an operation, or measure, to find the layouts of its outputs."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ...transforms import UndefinedError
from ..layout import Layout, Layouts, find_smallest_shift, shift_tensor
from ..movement import find_layout
from ..tape import Step
from .operation import Case
from .table import find_operation

#: Exceptions that a rule, or an operation on shifted inputs, may raise for a call that it does not handle.
_ERRORS = (AttributeError, LookupError, NotImplementedError, RuntimeError, TypeError, ValueError)


def propagate(
    step: Step, layouts: Layouts, values: Mapping[int, Tensor], size: Sequence[int], tolerance: float
) -> list[Layout | None]:
    """Return the layouts of the outputs of a step; None for an output that cannot be followed.

    If there is no rule for the call, the operation is computed for shifted inputs, and a layout is accepted
    if it explains all elements of all outputs.

    Args:
        step: Step on the tape.
        layouts: Layouts of the tensors before this step.
        values: Tensors on the tape.
        size: Spatial size of the input of the model.
        tolerance: Relative differences up to this count as rounding.
    """
    if any(layouts[ref] is None for ref in step.inputs):
        return [None for _ in step.outputs]
    operation = find_operation(step.op)
    cases = [Case(step, operation, place, layouts, values) for place in range(len(step.outputs))]
    found = [_keep_written(case) or _apply_rule(case) for case in cases]
    if None in found:
        shifted: dict[tuple[int, int], list[Tensor] | None] = {}
        found = [layout or _measure(case, size, tolerance, shifted) for layout, case in zip(found, cases)]
    return found


def _keep_written(case: Case) -> Layout | None:
    """Keep the layout of a tensor that is written into, if it has positions."""
    before = case.step.before[case.place] if case.step.before else None
    layout = None if before is None else case.layouts.get(before)
    return layout if layout is not None and any(dim.moves for dim in layout) else None


def _apply_rule(case: Case) -> Layout | None:
    if case.step.views and case.place:
        return None
    try:
        layout = case.operation.rule(case)
    except _ERRORS:
        return None
    return layout if layout is not None and tuple(dim.size for dim in layout) == case.shape else None


def _measure(
    case: Case, size: Sequence[int], tolerance: float, shifted: dict[tuple[int, int], list[Tensor] | None]
) -> Layout | None:
    step = case.step
    inputs = {ref: layout for ref in step.inputs if (layout := case.layouts[ref]) is not None}

    def compute(axis: int, shift: int) -> Tensor | None:
        if (axis, shift) not in shifted:
            by = [shift if a == axis else 0 for a in range(len(size))]
            try:
                tensors = {ref: shift_tensor(layout, case.values[ref], by) for ref, layout in inputs.items()}
                has_moved = any(not torch.equal(tensor, case.values[ref]) for ref, tensor in tensors.items())
                shifted[axis, shift] = step.run(tensors) if has_moved else None
            except (*_ERRORS, UndefinedError):
                shifted[axis, shift] = None
        results = shifted[axis, shift]
        return None if results is None else results[case.place]

    smallest = find_smallest_shift([*inputs.values()], [1] * len(size))
    prefixes = {dim.prefix for layout in inputs.values() for dim in layout}
    return find_layout(case.output, compute, size, smallest, tolerance, {0, *prefixes})
