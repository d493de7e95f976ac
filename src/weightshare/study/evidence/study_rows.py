"""Trials of the study's own network, with the study's own training."""

from collections.abc import Callable, Sequence

from ..data import load_examples
from ..jobs import make_fabric
from ..rows import Row, plan_rows
from ..spec import StudySpec
from ..trials.building import Factory
from ..trials.trial import run_trial
from .base import Record


def measure_rows(spec: StudySpec, seed: int, get_name: Callable[[Row], str]) -> Record:
    """Train the rows of a study with one seed and return their accuracies.

    Args:
        spec: Specification of the study. Its number of seeds is not used.
        seed: Seed of the trials.
        get_name: Function of a row that returns its name in the result.

    Returns:
        Test accuracy in percent and number of parameters of each row.
    """
    examples = load_examples(spec)
    factory, fabric = Factory(spec, examples), make_fabric(spec)
    measured: Record = {}
    for row in plan_rows(factory):
        trial = run_trial(row, seed, factory, fabric)
        measured[get_name(row)] = {"accuracy": 100 * trial.score, "parameters": row.parameters}
    return measured


def collect(records: Sequence[Record], name: str) -> list[float]:
    """Return the accuracy of a row, by seed."""
    return [record[name]["accuracy"] for record in records]
