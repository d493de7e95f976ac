"""Trace a shift through a model to find which operation breaks equivariance to it, and why.

`record` writes a forward pass on a `tape`. `layout` describes where the positions of the input are in each
tensor, and `rules` follow them through the operations. `run` measures shifts on a recorded model, `local`
measures one operation alone, and `causes` names why it breaks equivariance. `interventions` removes causes,
with the operations in `windowed` computed in another way. `trace` puts a `result` together from these.
"""

from .interventions import Effect, Interventions
from .result import EquivarianceTrace
from .row import Row
from .trace import trace_equivariance

__all__ = ["Effect", "EquivarianceTrace", "Interventions", "Row", "trace_equivariance"]
