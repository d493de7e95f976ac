import json
import os
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from filelock import FileLock

from tests.helpers.study import tiny_arrays
from weightshare.errors import StudyError
from weightshare.study import StudySpec, run, training

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
    times = {entry.name: entry.stat().st_mtime_ns for entry in quick.out.iterdir() if entry.name != ".lock"}
    monkeypatch.setattr("weightshare.study.trials.fit", lambda *_: pytest.fail("trained again"))
    assert run(quick).to_dict() == first.to_dict()
    assert {name: (quick.out / name).stat().st_mtime_ns for name in times} == times


def test_what_is_missing_or_outdated_is_written_again(quick):
    run(quick)
    page = (quick.out / "report.html").read_text()
    results = (quick.out / "results.json").read_text()
    (quick.out / "report.html").unlink()
    run(quick)
    assert (quick.out / "report.html").read_text() == page
    (quick.out / "results.json").write_text(results.replace('"version": "', '"version": "0.'))
    run(quick)
    assert (quick.out / "results.json").read_text() == results


def test_results_are_not_written_when_the_report_cannot_be_made(quick, monkeypatch):
    def broken(_):
        raise RuntimeError

    monkeypatch.setattr(sys.modules["weightshare.study._run"], "render", broken)
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
def test_a_training_that_diverges(quick, monkeypatch, change, where):
    if "learning_rate" in change:  # so small a network survives it: its second epoch is made to fail
        losses = iter([0.5, float("nan")])
        monkeypatch.setattr(training, "_epoch", lambda *_: next(losses))
    with pytest.raises(StudyError) as caught:
        run(replace(quick, epochs_max=30, **change))
    assert re.fullmatch(
        rf"study: {where}: the (training|validation) loss must be a finite number, got (nan|inf); use "
        rf"a lower "
        r"--learning-rate or --precision 32-true; finished trials are kept\.",
        str(caught.value),
    )


def test_a_training_that_diverges_keeps_finished_trials(quick, monkeypatch):
    losses = iter([0.5, 0.4, float("inf")])
    monkeypatch.setattr(training, "_epoch", lambda *_: next(losses))
    with pytest.raises(
        StudyError, match="study: tiled:2, seed 0, epoch 1: the training loss must be a finite"
    ):
        run(quick)
    monkeypatch.undo()
    assert [record["sharing"] for record in records_of(quick)] == ["full"]
    assert len(run(quick).trials) == 3


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
    assert "; seeds=1 there, 2 here); choose another folder with --out" in text
    with pytest.raises(
        StudyError, match=r"; sharings=full,tiled:2 there, full here; width=3 there, 4 here\)"
    ):
        run(replace(quick, sharings="full", width=4))
    assert (quick.out / "records.jsonl").read_bytes() == before


def test_another_study_that_kept_no_options(quick):
    run(quick)
    file = quick.out / "records.jsonl"
    records = [{key: value for key, value in record.items() if key != "spec"} for record in records_of(quick)]
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    with pytest.raises(StudyError, match=r"another study \(.*; 1 seed, digest \w{16}\); choose"):
        run(replace(quick, seeds=2))
    assert len(run(quick).trials) == 3


def test_the_same_options_on_other_images(quick, tiny):
    run(quick)
    np.savez(tiny.partition(":")[2], **tiny_arrays(each=12))
    with pytest.raises(StudyError, match="; the same options on other images or with another version"):
        run(quick)


@pytest.mark.parametrize("name", ["records.jsonl", "results.json", "report.html"])
def test_a_folder_where_a_file_belongs(quick, name):
    run(quick)
    (quick.out / name).unlink()
    (quick.out / name).mkdir()
    with pytest.raises(StudyError) as caught:
        run(quick)
    text = f"{name}: must be a file, got something else; choose another folder with --out."
    assert str(caught.value) == f"folder {str(quick.out)!r}, {text}"


def test_a_full_disk(quick, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("weightshare.study.records.os.fsync", full)
    with pytest.raises(StudyError) as caught:
        run(quick)
    assert str(caught.value) == (
        f"file {str(quick.out / 'records.jsonl')!r}: must be a file that can be read and written, got "
        f"No space "
        "left on device; make room or choose another folder with --out; finished trials are kept."
    )


@pytest.mark.parametrize(
    "change",
    [
        {"accuracy": "high"},
        {"accuracy": float("nan")},
        {"accuracy": 1.5},
        {"accuracy": True},
        {"seed": 0.0},
        {"sharing": ["full"]},
        {"train_seconds": float("inf")},
        {"train_seconds": 10**400},
        {"accuracy_shifted": {"1": 0.5}},
        {"accuracy_shifted": None},
        {"curve_accuracy": []},
        {"curve_accuracy": [0.5, None]},
        {"curve_loss": "ab"},
        {"best_epoch": 9},
        {"first_layer": {"mean": 3, "spread": 0}},
        {"first_layer": {"mean": [[[[float("nan")]]]], "spread": 0}},
        {"first_layer": {"mean": [[[[1]]]], "spread": 0, "by_position": [[[[[1]]]]]}},
    ],
    ids=str,
)
def test_a_record_that_was_changed(quick, change):
    run(quick)
    file = quick.out / "records.jsonl"
    first, *rest = records_of(quick)
    file.write_text("".join(json.dumps(record) + "\n" for record in ({**first, **change}, *rest)))
    with pytest.raises(StudyError) as caught:
        run(quick)
    assert str(caught.value) == (
        f"file {str(file)!r}, line 1: must be the record of a trial, got something else; choose "
        f"another folder "
        "with --out, or remove this line."
    )


def test_a_rival_process(quick):
    quick.out.mkdir()
    hold = (
        "from filelock import FileLock; import sys; lock = FileLock(sys.argv[1]); lock.acquire()\n"
        "print(1, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(quick.out / ".lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as rival:
        assert rival.stdout.readline() == b"1\n"
        with pytest.raises(StudyError, match="must not be in use, got a folder that another run writes to"):
            run(quick)
        rival.communicate(b"\n", timeout=60)
    assert run(quick)


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
