"""The charts of a report: their values, and the limits of their axes."""

from dataclasses import replace
from math import inf

import pytest

from tests.helpers.results import ACCURACY, RMSE, make_result
from weightshare.study import StudyResult
from weightshare.study.report import charts
from weightshare.study.statistics.questions import collect_answered
from weightshare.study.statistics.scale import Scale

PERCENT = {"full": [0.90, 1.0, 0.99], "local": [0.02, 0.01, 0.1]}
NUMBERS = {"full": [0.1, 3.0, 0.2], "local": [2.0, 2.1, 2.2]}


@pytest.fixture
def drawn(monkeypatch):
    """Return a list of what is drawn: the series and the limits of the y axis."""
    calls = []
    for name in ("draw_points", "draw_lines"):
        monkeypatch.setattr(
            charts.pictures,
            name,
            lambda series, *labels, low, high, **options: calls.append((series, low, high)),
        )
    return calls


def draw_all(result: StudyResult) -> None:
    charts.plot_score_vs_parameters(result)
    charts.plot_score_vs_shift(result)
    for answered in collect_answered(result):
        charts.plot_answers(result, answered)


@pytest.mark.parametrize(
    ("scale", "scores", "limits"),
    [
        (ACCURACY, PERCENT, (0.0, 100.0)),
        (RMSE, NUMBERS, (0.0, inf)),
        (Scale("r2", lower_is_better=False, is_fraction=False), NUMBERS, (-inf, 1.0)),
        (Scale("f1", lower_is_better=False, is_fraction=False), NUMBERS, (-inf, inf)),
    ],
    ids=["accuracy", "rmse", "r2", "f1"],
)
def test_axes_and_intervals_end_at_the_possible_values(drawn, scale, scores, limits):
    questions = {("train_sizes", "60 examples"): scores}
    draw_all(make_result(scores, scale=scale, questions=questions))
    assert len(drawn) == 3
    for series, low, high in drawn:
        assert (low, high) == limits
        for one in series:
            assert min(one.low) >= low
            assert max(one.high) <= high


def make_curves(scale: Scale, curves: dict[str, list[float]]) -> StudyResult:
    """Return a result with one learning curve per row."""
    result = make_result({name: curve[-1:] for name, curve in curves.items()}, scale=scale)
    trials = [replace(trial, curve_score=curves[trial.sharing]) for trial in result.trials]
    return StudyResult.from_trials(result.description, trials)


def test_learning_curves_are_cut_off_at_the_start_only(drawn):
    fast, slow = [0.1, 0.9, 0.95, 1.0], [0.1, 0.2, 0.4, 0.6]
    charts.plot_learning_curves(make_curves(ACCURACY, {"full": fast}))
    charts.plot_learning_curves(make_curves(ACCURACY, {"full": fast, "local": slow}))
    charts.plot_learning_curves(
        make_curves(RMSE, {"full": [9.0, 2.0, 1.0, 1.0], "local": [9.0, 8.0, 7.0, 6.0]})
    )
    limits = [limit for _, low, high in drawn for limit in (low, high)]
    assert limits == pytest.approx([50.0, 100.0, 40.0, 100.0, 0.0, 7.0])


def test_layers_have_no_chart(drawn):
    result = make_result(NUMBERS, scale=RMSE, questions={("layers", "a.*"): {"local": [2.0, 2.1, 2.2]}})
    draw_all(result)
    assert len(drawn) == 2
