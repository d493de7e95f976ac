"""How much should the weights of a layer be shared? Layers, counts and studies for every degree of sharing.

Importing the package loads no torch: every name below loads its room on first use (PEP 562).
"""

import importlib
from typing import TYPE_CHECKING

from ._version import __version__

if TYPE_CHECKING:
    from . import (
        accounting,
        convert,
        errors,
        functional,
        geometry,
        models,
        nn,
        pattern,
        reference,
        sharing,
        study,
        symmetry,
        testing,
        tying,
    )
    from .accounting import Explanation, explain
    from .accounting.ledger import Summary, summary
    from .convert import Restricted, from_flax, from_keras, relax, restrict, to_dense, to_torch
    from .errors import WeightshareError
    from .geometry import ReceptiveField, Window, receptive_fields
    from .pattern import Pattern
    from .sharing import Full, Local, LowRank, Mapped, Regional, SharedAlong, Sharing, Tiled, parse_sharing
    from .symmetry import assert_equivariant, equivariance_error, trace_equivariance
    from .tying import (
        Tie,
        check_tied_weights,
        find_tied_weights,
        fsdp_groups,
        load_safetensors,
        retie_weights,
        save_safetensors,
        tie_weights,
        untie_weights,
    )

_ROOM_OF = {
    "Explanation": "accounting",
    "explain": "accounting",
    "Summary": "accounting.ledger",
    "summary": "accounting.ledger",
    "Restricted": "convert",
    "from_flax": "convert",
    "from_keras": "convert",
    "relax": "convert",
    "restrict": "convert",
    "to_dense": "convert",
    "to_torch": "convert",
    "WeightshareError": "errors",
    "ReceptiveField": "geometry",
    "Window": "geometry",
    "receptive_fields": "geometry",
    "Pattern": "pattern",
    "Full": "sharing",
    "Local": "sharing",
    "LowRank": "sharing",
    "Mapped": "sharing",
    "Regional": "sharing",
    "SharedAlong": "sharing",
    "Sharing": "sharing",
    "Tiled": "sharing",
    "parse_sharing": "sharing",
    "assert_equivariant": "symmetry",
    "equivariance_error": "symmetry",
    "trace_equivariance": "symmetry",
    "Tie": "tying",
    "check_tied_weights": "tying",
    "find_tied_weights": "tying",
    "fsdp_groups": "tying",
    "load_safetensors": "tying",
    "retie_weights": "tying",
    "save_safetensors": "tying",
    "tie_weights": "tying",
    "untie_weights": "tying",
}
_ROOMS = {
    "accounting",
    "convert",
    "errors",
    "functional",
    "geometry",
    "models",
    "nn",
    "pattern",
    "reference",
    "sharing",
    "study",
    "symmetry",
    "testing",
    "tying",
}

__all__ = [
    "Explanation",
    "Full",
    "Local",
    "LowRank",
    "Mapped",
    "Pattern",
    "ReceptiveField",
    "Regional",
    "Restricted",
    "SharedAlong",
    "Sharing",
    "Summary",
    "Tie",
    "Tiled",
    "WeightshareError",
    "Window",
    "__version__",
    "accounting",
    "assert_equivariant",
    "check_tied_weights",
    "convert",
    "equivariance_error",
    "errors",
    "explain",
    "find_tied_weights",
    "from_flax",
    "from_keras",
    "fsdp_groups",
    "functional",
    "geometry",
    "load_safetensors",
    "models",
    "nn",
    "parse_sharing",
    "pattern",
    "receptive_fields",
    "reference",
    "relax",
    "restrict",
    "retie_weights",
    "save_safetensors",
    "sharing",
    "study",
    "summary",
    "symmetry",
    "testing",
    "tie_weights",
    "to_dense",
    "to_torch",
    "trace_equivariance",
    "tying",
    "untie_weights",
]


def __getattr__(name: str):
    if name in _ROOM_OF:
        value = getattr(importlib.import_module(f".{_ROOM_OF[name]}", __name__), name)
    elif name in _ROOMS:
        value = importlib.import_module(f".{name}", __name__)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *__all__})
