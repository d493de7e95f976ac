"""Prove and measure the equivariance of a model, and find the operation that breaks it.

There are five levels of evidence, from the strongest to the weakest:

1. `Pattern.is_equivariant` proves a symmetry for all weights of a layer.
2. `prove` proves it for all weights of any linear layer, as a black box.
3. `prove_shift` finds the positions at which a non-circular shift is exact, for all weights.
4. `equivariance_error` and `trace_equivariance` measure errors for given weights and inputs.
5. `consistency` and `sensitivity_map` measure how the outputs of a model change on data.
"""

from ..pattern.shift_proof import ShiftProof, prove_shift
from ._consistency import Consistency, consistency
from .error import Result, assert_equivariant, equivariance_error
from .proof import Proof, prove
from .sensitivity import SensitivityMap, sensitivity_map
from .trace import (
    EquivarianceTrace,
    Interventions,
    Row,
    TransformedRow,
    TransformTrace,
    trace_equivariance,
)
from .transforms import Transform, flip, permute_channels, rotate90, translate

__all__ = [
    "Consistency",
    "EquivarianceTrace",
    "Interventions",
    "Proof",
    "Result",
    "Row",
    "SensitivityMap",
    "ShiftProof",
    "Transform",
    "TransformTrace",
    "TransformedRow",
    "assert_equivariant",
    "consistency",
    "equivariance_error",
    "flip",
    "permute_channels",
    "prove",
    "prove_shift",
    "rotate90",
    "sensitivity_map",
    "trace_equivariance",
    "translate",
]
