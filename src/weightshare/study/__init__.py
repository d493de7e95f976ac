"""The study: on these data, what does each degree of weight sharing buy, and what does it cost?

One small network is built once for every sharing and trained on the same images with the same seeds until it
stops improving; a wider fully shared network with as many parameters as each partly shared one stands beside
it, so that sharing and size are not confused. `run(StudySpec(...))` returns a `StudyResult`.
"""

from importlib.util import find_spec

from ..errors import MissingExtraError

NEEDED = ("filelock", "lightning_fabric", "matplotlib", "PIL", "sklearn")

_missing = [name for name in NEEDED if find_spec(name) is None]
if _missing:
    raise MissingExtraError(
        "study", f"needs {', '.join(NEEDED)}", f"no {_missing[0]}", "pip install 'weightshare[study]'"
    )

from ._run import Progress, run  # noqa: E402
from .result import StudyResult  # noqa: E402
from .spec import StudySpec  # noqa: E402
from .summary import RowSummary  # noqa: E402
from .trials import Trial  # noqa: E402

__all__ = ["Progress", "RowSummary", "StudyResult", "StudySpec", "Trial", "run"]
