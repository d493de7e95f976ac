"""The experiments by name."""

from importlib import import_module

from ..._args import did_you_mean
from ...errors import SpecError
from ...views.escape import quote
from .base import Experiment

#: Name of each experiment, and the module of this package with its `EXPERIMENT`, in the order of the page.
MODULES = {
    "lecun1989": "lecun1989",
    "zipcode1989": "zipcode1989",
    "kunin2019": "kunin2019",
    "convergence": "convergence",
    "li2021": "li2021",
    "lahoti2024": "lahoti2024",
    "data-efficiency": "data_efficiency",
    "shuffled-pixels": "shuffled_pixels",
    "aligned-faces": "aligned_faces",
    "ott2020": "ott2020",
    "elsayed2020": "elsayed2020",
    "dascoli2019": "dascoli2019",
}
NAMES = tuple(MODULES)


def find_experiment(name: str) -> Experiment:
    """Return the experiment of this name.

    Raises:
        SpecError: If there is none.

    >>> find_experiment("lecun1989").title
    "LeCun's five networks of 1989"
    """
    if name not in MODULES:
        hint = did_you_mean(name, NAMES)
        raise SpecError("evidence", f"the name must be one of {', '.join(NAMES)}", quote(name), hint)
    return import_module(f"{__package__}.{MODULES[name]}").EXPERIMENT
