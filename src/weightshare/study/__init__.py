"""The study: measure what each degree of weight sharing gains and costs on a data set.

A study trains one small network with each sharing, on the same images and with the same seeds. Each partly
shared network is also compared with a size-matched one: a fully shared network, widened until it has as many
parameters. This separates the effect of sharing from the effect of size. `run(StudySpec(...))` returns a
`StudyResult`.
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

from ._plan import Plan, plan  # noqa: E402
from ._run import Progress, run  # noqa: E402
from .engines import ProcessExecutor, RayExecutor  # noqa: E402
from .reading import read, redraw  # noqa: E402
from .result import StudyResult  # noqa: E402
from .spec import StudySpec  # noqa: E402
from .summary import RowSummary  # noqa: E402
from .trials.trial import Trial  # noqa: E402

__all__ = [
    "Plan",
    "ProcessExecutor",
    "Progress",
    "RayExecutor",
    "RowSummary",
    "StudyResult",
    "StudySpec",
    "Trial",
    "plan",
    "read",
    "redraw",
    "run",
]
