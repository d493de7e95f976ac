"""A study from specification to result: files, seeds, progress, divergence and convergence."""

import re
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from torch import nn

from tests.helpers.study import MATCHED, parse_strict, read_records, without_time
from weightshare.errors import ArgumentError, StudyError
from weightshare.study import StudySpec, run
from weightshare.study.trials.training import Training

SUMMARY_KEYS = {
    "sharing", "layer_sharing", "width", "matches", "question", "setting", "metric", "parameters", "macs",
    "seeds", "start_accuracy", "accuracy", "accuracy_ci", "train_accuracy", "validation_accuracy", "gap",
    "gap_ci", "accuracy_shifted", "accuracy_shifted_ci", "class_scores", "epochs", "epochs_to_target",
    "reached_target", "hit_cap", "train_seconds",
}  # fmt: skip


def test_the_files_of_a_study(quick):
    result = run(quick)
    assert {entry.name for entry in quick.out.iterdir()} <= {
        "records.jsonl",
        "results.json",
        "report.html",
        ".lock",
    }
    records = read_records(quick)
    assert [record["sharing"] for record in records] == ["full", "tiled:2", MATCHED]
    results = parse_strict((quick.out / "results.json").read_text())
    assert results == parse_strict(result.to_json())
    assert {record["study"] for record in records} == {results["study"]}
    assert results["spec"]["sharings"] == ["full", "tiled:2"]
    for entry in results["summary"]:
        assert set(entry) == SUMMARY_KEYS
        assert entry["accuracy_ci"] is None
        assert set(entry["accuracy_shifted"]) == {"1", "2"}
        assert 0 <= entry["accuracy"] <= 1
    assert "<h2" in (quick.out / "report.html").read_text()


def test_intervals_over_seeds():
    (row,) = run(StudySpec("digits", "full", seeds=2, train_images=60, epochs_max=1)).summary
    low, high = row.accuracy_ci
    assert low <= row.accuracy <= high
    assert row.seeds == 2


def test_the_same_seed_gives_the_same_results_and_the_global_seed_is_kept(quick):
    torch.manual_seed(7)
    state = torch.get_rng_state()
    first = [trial.to_record() for trial in run(replace(quick, out=None)).trials]
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(8)
    second = [trial.to_record() for trial in run(replace(quick, out=None)).trials]
    assert without_time(first) == without_time(second)


def test_results_are_not_written_when_the_report_cannot_be_made(quick, monkeypatch):
    def broken(_):
        raise RuntimeError

    monkeypatch.setattr(sys.modules["weightshare.study._run"], "render_page", broken)
    with pytest.raises(RuntimeError):
        run(quick)
    assert not (quick.out / "results.json").exists()


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"precision": "16-true"}, r"full, seed 0, epoch \d+"),
        ({"learning_rate": 1.0}, "full, seed 0, epoch 2"),
    ],
)
def test_training_that_diverges(quick, monkeypatch, change, where):
    if "learning_rate" in change:  # so small a network would survive it, so its second epoch is made to fail
        losses = iter([0.5, float("nan")])
        monkeypatch.setattr(Training, "_train_epoch", lambda _: next(losses))
    with pytest.raises(StudyError) as caught:
        run(replace(quick, epochs_max=30, **change))
    assert re.fullmatch(
        rf"study: {where}: the (training|validation) loss must be finite, got (nan|inf); use a lower "
        r"learning rate or precision 32-true; finished trials are saved\.",
        str(caught.value),
    )


def test_finished_trials_are_saved_when_training_diverges(quick, monkeypatch):
    losses = iter([0.5, 0.4, float("inf")])
    monkeypatch.setattr(Training, "_train_epoch", lambda _: next(losses))
    with pytest.raises(StudyError, match="study: tiled:2, seed 0, epoch 1: the training loss must be finite"):
        run(quick)
    monkeypatch.undo()
    assert [record["sharing"] for record in read_records(quick)] == ["full"]
    assert len(run(quick).trials) == 3


def test_progress_is_reported_after_each_epoch_and_trial(quick):
    states = []
    run(replace(quick, out=None), states.append)
    assert [(s.done, s.epoch, s.trial is None) for s in states[:3]] == [
        (0, 1, True),
        (0, 2, True),
        (1, 2, False),
    ]
    assert {s.total for s in states} == {3}


def test_runs_that_stop_at_the_epoch_limit_are_counted(quick):
    assert [row.hit_cap for row in run(quick).summary] == [1, 1, 1]
    assert run(replace(quick, out=None, epochs_max=50, patience=1, sharings="full"))["full"].hit_cap == 0


def test_arguments_that_fabric_rejects(quick):
    with pytest.raises(
        StudyError,
        match=r"Lightning Fabric must accept .* and precision on this machine, got accelerator='abacus'",
    ):
        run(replace(quick, accelerator="abacus"))


@pytest.mark.parametrize("given", [-1, float("nan"), "60", None])
def test_the_time_between_states_is_checked(quick, given):
    with pytest.raises(ArgumentError, match="study: state_seconds must be a number of at least 0, got "):
        run(quick, state_seconds=given)


class Moody(nn.Module):
    """A network that raises an exception in the training of seed 1."""

    def __init__(self, width):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, width, 3), nn.Flatten(), nn.Linear(16 * width, 2))

    def forward(self, x):
        if self.training and torch.initial_seed() == 1:
            raise ValueError("not today")
        return self.layers(x)


@pytest.mark.parametrize("executor", [None, ThreadPoolExecutor(1)], ids=["here", "executor"])
def test_a_network_that_fails_in_one_trial(quick, executor):
    spec = replace(quick, sharings="full", seeds=2, model=Moody)
    with pytest.raises(StudyError) as caught:
        run(spec, executor=executor)
    assert str(caught.value) == (
        "study: full, seed 1: the network must be trained and evaluated without an exception, got "
        "ValueError: not today."
    )
    assert [record["seed"] for record in read_records(spec)] == [0]


@pytest.mark.parametrize("error", [SystemExit, KeyError])
def test_errors_of_the_progress_function_are_its_own(quick, error):
    def stop(_):
        raise error

    with pytest.raises(error):
        run(replace(quick, sharings="full", model=Moody), stop)


def test_the_text_of_a_result_is_its_table(quick):
    text = str(run(replace(quick, out=None)))
    assert MATCHED in text
    assert "3 of 3 runs stopped at the 2-epoch limit and may not have converged." in text
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.long
def test_digits_are_learned():
    result = run(StudySpec(seeds=1))
    assert result["full"].accuracy > 0.9
    assert result["local"].accuracy > 0.9
    assert result["local"].accuracy_shifted["2"] < result["full"].accuracy_shifted["2"]
    assert result["lowrank:4"].reached_target == 1
