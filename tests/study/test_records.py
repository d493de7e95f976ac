"""The folder of a study: it is resumed, locked and checked, and never overwritten by another study."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from filelock import FileLock

from tests.helpers.study import MATCHED, parse_strict, read_records, tiny_arrays, without_time
from weightshare.errors import StudyError
from weightshare.study import run


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


def test_a_torn_last_line_is_dropped_and_its_trial_run_again(quick):
    first = run(quick)
    file = quick.out / "records.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) - 200])
    done = []
    again = run(quick, lambda state: done.append(state.sharing) if state.trial else None)
    assert done == [MATCHED]
    assert without_time(read_records(quick)) == without_time(
        list(map(parse_strict, whole.decode().splitlines()))
    )
    assert [row.accuracy for row in again.summary] == [row.accuracy for row in first.summary]


def test_stopping_keeps_finished_trials(quick):
    def stop(state):
        if state.done == 1 and state.trial is None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(quick, stop)
    assert [record["sharing"] for record in read_records(quick)] == ["full"]
    assert not (quick.out / "results.json").exists()
    assert len(run(quick).summary) == 3


def test_another_study_in_the_folder(quick):
    run(quick)
    before = (quick.out / "records.jsonl").read_bytes()
    with pytest.raises(StudyError) as caught:
        run(replace(quick, seeds=2))
    text = str(caught.value)
    assert "full,tiled:2; 2 seeds, digest" in text
    assert "another study" in text
    assert "full,tiled:2; 1 seed, digest" in text
    assert "; seeds=1 instead of 2); choose another folder with --out" in text
    with pytest.raises(StudyError, match=r"; sharings=full,tiled:2 instead of full; width=3 instead of 4\)"):
        run(replace(quick, sharings="full", width=4))
    assert (quick.out / "records.jsonl").read_bytes() == before


def test_another_study_without_stored_options(quick):
    run(quick)
    file = quick.out / "records.jsonl"
    records = [
        {key: value for key, value in record.items() if key != "spec"} for record in read_records(quick)
    ]
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    with pytest.raises(StudyError, match=r"another study \(.*; 1 seed, digest \w{16}\); choose"):
        run(replace(quick, seeds=2))
    assert len(run(quick).trials) == 3


def test_the_same_options_on_other_images(quick, tiny):
    run(quick)
    np.savez(tiny.partition(":")[2], **tiny_arrays(each=12))
    with pytest.raises(StudyError, match="; the same options, but other images or another version"):
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
        f"file {str(quick.out / 'records.jsonl')!r}: must be readable and writable, got "
        "No space left on device; free disk space or choose another folder with --out; finished "
        "trials are saved."
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
    first, *rest = read_records(quick)
    file.write_text("".join(json.dumps(record) + "\n" for record in ({**first, **change}, *rest)))
    with pytest.raises(StudyError) as caught:
        run(quick)
    assert str(caught.value) == (
        f"file {str(file)!r}, line 1: must be the record of a trial, got something else; choose "
        f"another folder "
        "with --out, or remove this line."
    )


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


def test_a_folder_locked_by_this_process(quick):
    run(quick)
    with (
        FileLock(quick.out / ".lock"),
        pytest.raises(StudyError, match="must not be in use, got a folder that"),
    ):
        run(quick)
    assert run(quick)


def test_a_folder_locked_by_another_process(quick):
    quick.out.mkdir()
    hold = (
        "from filelock import FileLock; import sys; lock = FileLock(sys.argv[1]); lock.acquire()\n"
        "print(1, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(quick.out / ".lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as rival:
        assert rival.stdout.readline() == b"1\n"
        with pytest.raises(StudyError, match="must not be in use, got a folder that another run has locked"):
            run(quick)
        rival.communicate(b"\n", timeout=60)
    assert run(quick)


def test_a_folder_with_other_files(quick):
    quick.out.mkdir()
    (quick.out / "thesis.tex").write_text("mine")
    with pytest.raises(
        StudyError,
        match=r"must be empty or contain a study, got 'thesis.tex'; choose another folder with --out",
    ):
        run(quick)
    assert os.listdir(quick.out) == ["thesis.tex"]


def test_out_that_is_a_file(quick):
    quick.out.write_text("mine")
    with pytest.raises(StudyError, match="must be a folder, got a file; choose another path with --out"):
        run(quick)
    with pytest.raises(StudyError, match="must be a writable folder, got Not a directory"):
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
