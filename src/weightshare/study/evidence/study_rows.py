"""Trials of the study's own network, with the study's own training."""

from collections.abc import Callable, Sequence

from ..building import Factory
from ..data import load_examples
from ..jobs import make_fabric
from ..rows import Row, plan_rows
from ..spec import StudySpec
from ..trials import run_trial


def measure_rows(
    spec: StudySpec, seed: int, names: Callable[[Row], str | None]
) -> dict[str, dict[str, float]]:
    """Train rows of a study with one seed and return their accuracies.

    Args:
        spec: Specification of the study. Its number of seeds is not used.
        seed: Seed of the trials.
        names: Function of a row that returns its name in the result, or None to leave the row out.

    Returns:
        Test accuracy in percent, number of parameters and number of epochs of each row.
    """
    examples = load_examples(spec)
    factory, fabric = Factory(spec, examples), make_fabric(spec)
    measured: dict[str, dict[str, float]] = {}
    for row in plan_rows(spec, examples):
        name = names(row)
        if name is not None:
            trial = run_trial(row, seed, factory, fabric)
            measured[name] = {
                "accuracy": 100 * trial.score,
                "parameters": row.parameters,
                "epochs": trial.epochs,
            }
    return measured


def collect(records: Sequence[dict[str, dict[str, float]]], name: str, key: str = "accuracy") -> list[float]:
    """Return a measurement of a row, by seed."""
    return [record[name][key] for record in records]
