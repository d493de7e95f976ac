"""The sharing test: how much less or more weight sharing gains in each layer and tie of a trained model."""

from importlib.util import find_spec

from ..errors import MissingExtraError

if find_spec("filelock") is None:
    raise MissingExtraError.for_package("sharing_test", "filelock", extra="study")

from ._test import sharing_test
from .layer import LayerResult
from .result import SharingTest
from .runner import Progress
from .tie import TieResult
from .verdict import Decision, Gain, Rule, decide

__all__ = [
    "Decision",
    "Gain",
    "LayerResult",
    "Progress",
    "Rule",
    "SharingTest",
    "TieResult",
    "decide",
    "sharing_test",
]
