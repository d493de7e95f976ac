import json
import os
from dataclasses import replace

import pytest
import torch
from filelock import FileLock

from weightshare.errors import StudyError
from weightshare.study import StudySpec, run

SUMMARY_KEYS = {
    "sharing", "layer_sharing", "width", "matches", "parameters", "macs", "seeds", "accuracy", "accuracy_ci",
    "train_accuracy", "validation_accuracy", "gap", "gap_ci", "accuracy_shifted", "accuracy_shifted_ci",
    "epochs", "epochs_to_target", "reached_target", "hit_cap", "train_seconds",
}  # fmt: skip
WIDER = "full (width 6, as many parameters as tiled:2)"


def strict(text: str):
    """JSON without NaN and Infinity."""
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def without_time(records: list[dict]) -> list[dict]:
    return [{key: value for key, value in record.items() if key != "train_seconds"} for record in records]


def records_of(spec: StudySpec) -> list[dict]:
    return [strict(line) for line in (spec.out / "records.jsonl").read_text().splitlines()]


def test_folder_of_a_study(quick):
    result = run(quick)
    assert {entry.name for entry in quick.out.iterdir()} <= {
        "records.jsonl",
        "results.json",
        "report.html",
        ".lock",
    }
    records = records_of(quick)
    assert [record["sharing"] for record in records] == ["full", "tiled:2", WIDER]
    results = strict((quick.out / "results.json").read_text())
    assert results == strict(result.to_json())
    assert {record["study"] for record in records} == {results["study"]}
    assert results["spec"]["sharings"] == ["full", "tiled:2"]
    for entry in results["summary"]:
        assert set(entry) == SUMMARY_KEYS
        assert entry["accuracy_ci"] is None
        assert set(entry["accuracy_shifted"]) == {"1", "2"}
        assert 0 <= entry["accuracy"] <= 1
    assert "<h2" in (quick.out / "report.html").read_text()


def test_intervals_with_two_seeds(quick):
    summary = run(replace(quick, seeds=2, sharings="full", out=None)).summary
    low, high = summary[0].accuracy_ci
    assert low <= summary[0].accuracy <= high
    assert summary[0].seeds == 2


def test_same_seed_same_numbers_and_the_callers_random_numbers_stay(quick):
    torch.manual_seed(7)
    state = torch.get_rng_state()
    first = run(replace(quick, out=None))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(8)
    second = run(replace(quick, out=None))
    ours, theirs = ([trial.to_record() for trial in result.trials] for result in (first, second))
    assert without_time(ours) == without_time(theirs)


def test_a_finished_study_is_only_read(quick, monkeypatch):
    first = run(quick)
    monkeypatch.setattr("weightshare.study.trials.fit", lambda *_: pytest.fail("trained again"))
    assert run(quick).to_dict() == first.to_dict()


def test_a_torn_last_line_is_dropped_and_its_trial_run_again(quick):
    first = run(quick)
    file = quick.out / "records.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) - 200])
    done = []
    again = run(quick, lambda state: done.append(state.sharing) if state.trial else None)
    assert done == [WIDER]
    assert without_time(records_of(quick)) == without_time(list(map(strict, whole.decode().splitlines())))
    assert [row.accuracy for row in again.summary] == [row.accuracy for row in first.summary]


def test_stopping_keeps_finished_trials(quick):
    def stop(state):
        if state.done == 1 and state.trial is None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(quick, stop)
    assert [record["sharing"] for record in records_of(quick)] == ["full"]
    assert not (quick.out / "results.json").exists()
    assert len(run(quick).summary) == 3


def test_progress(quick):
    states = []
    run(replace(quick, out=None), states.append)
    assert [(s.done, s.epoch, s.trial is None) for s in states[:3]] == [
        (0, 1, True),
        (0, 2, True),
        (1, 2, False),
    ]
    assert {s.total for s in states} == {3}


def test_all_trials_that_meet_the_cap_are_counted(quick):
    assert [row.hit_cap for row in run(quick).summary] == [1, 1, 1]
    assert run(replace(quick, out=None, epochs_max=50, patience=1, sharings="full"))["full"].hit_cap == 0


def test_another_study_in_the_folder(quick):
    run(quick)
    before = (quick.out / "records.jsonl").read_bytes()
    with pytest.raises(StudyError) as caught:
        run(replace(quick, seeds=2))
    text = str(caught.value)
    assert "full,tiled:2; 2 seeds, digest" in text
    assert "another study" in text
    assert "full,tiled:2; 1 seed, digest" in text
    assert "choose another folder with --out" in text
    assert (quick.out / "records.jsonl").read_bytes() == before


def test_two_runs_in_one_folder(quick):
    run(quick)
    with (
        FileLock(quick.out / ".lock"),
        pytest.raises(StudyError, match="must not be in use, got a folder that"),
    ):
        run(quick)
    assert run(quick)


@pytest.mark.parametrize("number", [1, 2])
def test_a_damaged_record(quick, number):
    run(quick)
    file = quick.out / "records.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    lines[number - 1] = ["not json\n", json.dumps({"study": json.loads(lines[0])["study"]}) + "\n"][
        number - 1
    ]
    file.write_text("".join(lines))
    with pytest.raises(StudyError, match=f"line {number}: must be the record of a trial"):
        run(quick)


def test_a_folder_of_something_else(quick):
    quick.out.mkdir()
    (quick.out / "thesis.tex").write_text("mine")
    with pytest.raises(
        StudyError, match=r"must be empty or hold a study, got 1 other entries, such as 'thesis.tex'"
    ):
        run(quick)
    assert os.listdir(quick.out) == ["thesis.tex"]


def test_out_that_is_a_file(quick):
    quick.out.write_text("mine")
    with pytest.raises(StudyError, match="must be a folder, got a file; choose another path with --out"):
        run(quick)
    with pytest.raises(StudyError, match="must be a folder that can be written, got Not a directory"):
        run(replace(quick, out=quick.out / "deeper"))
    assert quick.out.read_text() == "mine"


@pytest.mark.parametrize(
    "change",
    [
        {"sharings": "regional:7"},
        {"data": "npz:missing.npz"},
        {"accelerator": "abacus"},
        {"precision": "3-bit"},
    ],
)
def test_nothing_is_written_before_everything_is_checked(quick, change):
    with pytest.raises(ValueError, match="got"):
        run(replace(quick, **change))
    assert not quick.out.exists()


def test_flags_that_fabric_refuses(quick):
    with pytest.raises(
        StudyError, match=r"must be flags that Lightning Fabric takes here, got accelerator=abacus"
    ):
        run(replace(quick, accelerator="abacus"))


def test_the_text_of_a_result_is_its_table(quick):
    text = str(run(replace(quick, out=None)))
    assert WIDER in text
    assert "3 of 3 trainings met the cap of 2 epochs" in text
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.long
def test_digits_are_learned():
    result = run(StudySpec(seeds=1))
    assert result["full"].accuracy > 0.9
    assert result["local"].accuracy > 0.9
    assert result["local"].accuracy_shifted["2"] < result["full"].accuracy_shifted["2"]
    assert result["lowrank:4"].reached_target == 1
