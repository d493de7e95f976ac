"""Does a model keep the symmetries of its input, how far from it is it, and which operation loses them?

Five levels of evidence, the strongest first: `Pattern.is_equivariant` (all weights, by integers), `prove` (a
linear layer as a black box, by random integers), where a shift that is not circular is exact, numbers
(`equivariance_error`, `trace_equivariance`), and the agreement of a classifier (`consistency`).
"""

from ..pattern.shift_proof import ShiftProof, prove_shift
from ._consistency import Consistency, consistency
from .error import Result, assert_equivariant, equivariance_error
from .proof import Proof, prove
from .sensitivity import SensitivityMap, sensitivity_map
from .trace import EquivarianceTrace, Interventions, Row, trace_equivariance
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
