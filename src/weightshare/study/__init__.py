"""The study: on these data, what does each degree of weight sharing buy, and what does it cost?

One small network is built once for every sharing and trained on the same images with the same seeds until it
stops improving; a wider fully shared network with as many parameters as each partly shared one stands beside
it, so that sharing and size are not confused. `run(StudySpec(...))` returns a `StudyResult`.
"""

from importlib.util import find_spec

from ..errors import MissingExtraError

#: The packages that a study needs, and the modules that they install.
NEEDED = {
    "filelock": "filelock",
    "lightning-fabric": "lightning_fabric",
    "matplotlib": "matplotlib",
    "pillow": "PIL",
    "scikit-learn": "sklearn",
}

for _package, _module in NEEDED.items():
    if find_spec(_module) is None:
        raise MissingExtraError.for_package("study", _package, extra="study")

from ._run import Progress, run  # noqa: E402
from .result import StudyResult  # noqa: E402
from .spec import StudySpec  # noqa: E402
from .summary import RowSummary  # noqa: E402
from .trials import Trial  # noqa: E402

__all__ = ["Progress", "RowSummary", "StudyResult", "StudySpec", "Trial", "run"]
