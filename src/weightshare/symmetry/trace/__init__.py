"""Which operation of a model loses a shift: recorded, followed, explained and changed.

`record` writes a forward pass on a `tape`; `layout` and `propagate` know where positions stand in every
tensor; `run` measures shifts on both; `local` asks an operation by itself, `causes` say why it breaks a
shift; `interventions` change what does, with what `windows` compute otherwise; `trace` puts all of it
together into a `result`.
"""

from .interventions import Effect, Interventions
from .result import EquivarianceTrace, Row
from .trace import trace_equivariance

__all__ = ["Effect", "EquivarianceTrace", "Interventions", "Row", "trace_equivariance"]
