"""The sharing test: how much relaxing the weight sharing of each layer of a trained model gains."""

from importlib.util import find_spec

from ..errors import MissingExtraError

if find_spec("filelock") is None:
    raise MissingExtraError.for_package("sharing_test", "filelock", extra="study")

from ._test import sharing_test
from .layer import LayerResult
from .result import SharingTest
from .runner import Progress
from .verdict import Decision, Gain, Rule, decide

__all__ = ["Decision", "Gain", "LayerResult", "Progress", "Rule", "SharingTest", "decide", "sharing_test"]
