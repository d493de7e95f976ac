"""Evidence: published comparisons of weight sharing, small enough to rerun on two cores.

Each experiment is one module with an `EXPERIMENT`, loaded on first use. `run("lecun1989")` returns an
`Evidence`: for each published claim or figure, what was measured, with its interval, and whether they agree.
"""

from .base import Evidence, Experiment, Finding, Plot
from .registry import NAMES, find_experiment
from .running import Progress, run

__all__ = ["NAMES", "Evidence", "Experiment", "Finding", "Plot", "Progress", "find_experiment", "run"]
