"""Results of studies that were never run, with given scores."""

from collections.abc import Mapping, Sequence
from typing import Any

from weightshare.study import StudyResult, StudySpec, Trial
from weightshare.study.data import DataFacts
from weightshare.study.description import Description
from weightshare.study.statistics.scale import Scale
from weightshare.study.summary import RowFacts

ACCURACY = Scale("accuracy", lower_is_better=False, is_fraction=True)
RMSE = Scale("rmse", lower_is_better=True, is_fraction=False)
PARAMETERS = {"full": 1_000, "tiled:2": 4_000, "lowrank:1": 2_000, "local": 60_000}

#: Scores of a study in which tiling is better, and the row that matches its size.
MATCHED = "full (width 24, size-matched to tiled:2)"
SCORES = {
    "full": [0.94, 0.95, 0.96],
    "tiled:2": [0.98, 0.99, 0.985],
    MATCHED: [0.95, 0.955, 0.945],
    "local": [0.80, 0.82, 0.81],
}
MATCHES = {MATCHED: ["tiled:2"]}


def make_facts(**changes: Any) -> DataFacts:
    """Return facts about 100 test images of two equally frequent classes, with changes."""
    facts: dict[str, Any] = {
        "name": "npz:spots.npz",
        "digest": "0123456789abcdef",
        "task": "classification",
        "channels": 1,
        "size": (8, 8),
        "outputs": 2,
        "class_names": ("cat", "dog"),
        "train": 240,
        "validation": 60,
        "test": 100,
        "majority": 0.5,
        "test_counts": (50, 50),
        "fill": "the value of the background",
        "notes": (),
    }
    return DataFacts(**{**facts, **changes})


def make_regression_facts(**changes: Any) -> DataFacts:
    """Return facts about sequences with one number to predict, with changes."""
    facts = {"task": "regression", "size": (32,), "outputs": 1, "class_names": (), "majority": None}
    return make_facts(**{**facts, "test_counts": (), "fill": "the values at the border", **changes})


def make_trial(sharing: str, seed: int, score: float, scale: Scale = ACCURACY, **changes: Any) -> Trial:
    """Return a trial of two epochs, with the same score on all sets, and with changes."""
    values: dict[str, Any] = {
        "key": sharing,
        "sharing": sharing,
        "seed": seed,
        "metric": scale.name,
        "score": score,
        "train_score": score,
        "validation_score": score,
        "score_shifted": {"1": score, "2": score},
        "epochs": 2,
        "best_epoch": 2,
        "hit_cap": False,
        "train_seconds": 1.5,
        "curve_score": [score / 2, score],
        "curve_loss": [1.0, 0.5],
        "class_scores": [score, score] if scale is ACCURACY else [],
        "environment": {"torch": "2.11", "device": "cpu (x86_64)", "threads": "1"},
    }
    return Trial(**{**values, **changes})


def make_result(
    scores: Mapping[str, Sequence[float]],
    *,
    scale: Scale = ACCURACY,
    facts: DataFacts | None = None,
    matches: Mapping[str, Sequence[str]] | None = None,
    questions: Mapping[tuple[str, str], Mapping[str, Sequence[float]]] | None = None,
    trials: Sequence[Trial] | None = None,
    **options: Any,
) -> StudyResult:
    """Return the result of a study with these test scores, one per seed.

    Args:
        scores: Scores of each row of the main table.
        scale: Scale of the metric.
        facts: Facts about the data.
        matches: For each size-matched row, the sharings that it is matched to.
        questions: For each option and setting, the scores of each row.
        trials: The trials, if they differ from those of `make_trial`.
        options: Options of the study that are not the default.
    """
    matches = matches or {}
    rows = [_make_row(name, tuple(matches.get(name, ()))) for name in scores]
    given = dict(scores)
    for (option, setting), answers in (questions or {}).items():
        for name, values in answers.items():
            rows.append(_make_row(f"{name} [{setting}]", tuple(matches.get(name, ())), option, setting, name))
            given[rows[-1].sharing] = values
    spec = StudySpec(seeds=max(map(len, given.values())))
    description = Description(
        "fedcba9876543210",
        {**spec.to_dict(), **options},
        facts or (make_facts() if scale.is_fraction else make_regression_facts()),
        scale,
        tuple(rows),
        tuple(row.sharing for row in rows),
        sum(map(len, given.values())),
    )
    made = [
        make_trial(name, seed, score, scale, class_scores=[score] * len(description.data.test_counts))
        for name, values in given.items()
        for seed, score in enumerate(values)
    ]
    return StudyResult.from_trials(description, made if trials is None else trials)


def _make_row(
    name: str, matches: tuple[str, ...], question: str = "", setting: str = "", base: str | None = None
) -> RowFacts:
    sharing = "full" if matches else (base or name)
    width = 24 if matches else 16
    parameters = PARAMETERS.get(sharing, 3_000)
    return RowFacts(name, sharing, width, matches, question, setting, parameters, 50_000)
