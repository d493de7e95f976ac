"""Which operation of a model loses a shift: recorded, followed, explained and changed.

`tape` records a forward pass, `layout` and `propagate` know where positions stand in every tensor, `causes`
say why an operation breaks a shift, `interventions` change what does.
"""

from .interventions import Effect, Interventions
from .trace import EquivarianceTrace, Row, trace_equivariance

__all__ = ["Effect", "EquivarianceTrace", "Interventions", "Row", "trace_equivariance"]
