"""Apply the rule of an operation to find the layouts of its outputs."""

from collections.abc import Mapping

from torch import Tensor

from ..layout import Layout, Layouts
from ..tape import Step
from .operation import Case
from .table import find_operation

#: Exceptions that a rule may raise for a call with arguments that it does not handle.
_ERRORS = (AttributeError, LookupError, RuntimeError, TypeError, ValueError)


def propagate(step: Step, layouts: Layouts, values: Mapping[int, Tensor]) -> list[Layout | None]:
    """Return the layouts of the outputs of a step; None for an output that cannot be followed."""
    places = range(len(step.outputs))
    if all(layouts[ref] is None for ref in step.inputs):
        return [None for _ in places]
    operation = find_operation(step.op)
    return [_apply_rule(Case(step, operation, place, layouts, values)) for place in places]


def _apply_rule(case: Case) -> Layout | None:
    try:
        layout = case.operation.rule(case)
    except _ERRORS:
        return None
    return layout if layout is not None and tuple(dim.size for dim in layout) == case.shape else None
