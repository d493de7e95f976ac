"""How much should the weights of a layer be shared? Layers, counts and studies for every degree of sharing.

Importing the package loads no torch: every name below loads its room on first use (PEP 562).
"""

import importlib
from typing import TYPE_CHECKING

from ._version import __version__

if TYPE_CHECKING:
    from . import accounting, convert, errors, functional, geometry, nn, reference, sharing, study, testing
    from .accounting import Explanation, explain
    from .convert import Restricted, from_flax, from_keras, relax, restrict, to_dense, to_torch
    from .errors import WeightshareError
    from .geometry import ReceptiveField, Window, receptive_fields
    from .sharing import Full, Local, LowRank, Mapped, Regional, SharedAlong, Sharing, Tiled, parse_sharing

_ROOM_OF = {
    "Explanation": "accounting",
    "explain": "accounting",
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
    "Full": "sharing",
    "Local": "sharing",
    "LowRank": "sharing",
    "Mapped": "sharing",
    "Regional": "sharing",
    "SharedAlong": "sharing",
    "Sharing": "sharing",
    "Tiled": "sharing",
    "parse_sharing": "sharing",
}
_ROOMS = {
    "accounting",
    "convert",
    "errors",
    "functional",
    "geometry",
    "nn",
    "reference",
    "sharing",
    "study",
    "testing",
}

__all__ = [
    "Explanation",
    "Full",
    "Local",
    "LowRank",
    "Mapped",
    "ReceptiveField",
    "Regional",
    "Restricted",
    "SharedAlong",
    "Sharing",
    "Tiled",
    "WeightshareError",
    "Window",
    "__version__",
    "accounting",
    "convert",
    "errors",
    "explain",
    "from_flax",
    "from_keras",
    "functional",
    "geometry",
    "nn",
    "parse_sharing",
    "receptive_fields",
    "reference",
    "relax",
    "restrict",
    "sharing",
    "study",
    "testing",
    "to_dense",
    "to_torch",
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
