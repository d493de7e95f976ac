"""Trace a shift through a model to find which operation breaks equivariance to it, and why.

`record` writes a forward pass on a `tape`, in float64 with `precision`. `layout` describes where the
positions of the input are in each tensor; `rules` follow them through the operations, and `movement` finds
them by measurement where there is no rule. `run` and `match` compare it with a shifted run. `claims`
derives for which shifts operations are exact, and verifies it on the model; `causes` names why they are not.
`interventions` removes causes, with the operations in `windowed` computed in another way. `trace` puts a
`result` together from these. `transformed` does the same for shifted crops and, with `turns`, for rotations
and flips.
"""

from .interventions import Effect, Interventions
from .result import EquivarianceTrace
from .row import Row
from .trace import trace_equivariance
from .transformed import TransformedRow, TransformTrace

__all__ = [
    "Effect",
    "EquivarianceTrace",
    "Interventions",
    "Row",
    "TransformTrace",
    "TransformedRow",
    "trace_equivariance",
]
