"""The folder of a study: it is resumed, locked and checked, and never overwritten by another study."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from tests.helpers.study import MATCHED, parse_strict, read_records, tiny_arrays, without_time
from weightshare.errors import StudyError
from weightshare.study import run


def test_a_finished_study_is_only_read(quick, monkeypatch):
    first = run(quick)
    times = {entry.name: entry.stat().st_mtime_ns for entry in quick.out.iterdir() if entry.name != ".lock"}
    monkeypatch.setattr("weightshare.study.trials.trial.fit", lambda *_: pytest.fail("trained again"))
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


def train_what(spec):
    """Run a study and return the trials that it trained."""
    trained = []
    run(spec, lambda state: trained.append((state.sharing, state.seed)) if state.trial else None)
    return trained


def test_more_seeds_continue_a_study(quick):
    assert len(train_what(quick)) == 3
    more = replace(quick, seeds=2)
    assert train_what(more) == [("full", 1), ("tiled:2", 1), (MATCHED, 1)]
    fresh = run(replace(more, out=None))
    assert without_time([trial.to_record() for trial in run(more).trials]) == without_time(
        [trial.to_record() for trial in fresh.trials]
    )
    assert [row.seeds for row in run(quick).summary] == [1, 1, 1]


def test_more_sharings_and_questions_continue_a_study(quick):
    run(replace(quick, sharings="full"))
    assert train_what(quick) == [("tiled:2", 0), (MATCHED, 0)]
    wider = replace(quick, sharings="local,full,tiled:2,regional:2", train_sizes="4")
    # regional:2 has as many parameters as tiled:2, so both are matched to the row that is trained already
    assert [name for name, _ in train_what(wider)] == [
        "local", "regional:2", "local [4 examples]", "full [4 examples]", "tiled:2 [4 examples]",
        "full (width 6, size-matched to tiled:2 and regional:2) [4 examples]", "regional:2 [4 examples]",
    ]  # fmt: skip
    assert train_what(wider) == []


def test_the_same_images_under_another_path_continue_a_study(quick, tiny, tmp_path):
    run(quick)
    (tmp_path / "deeper").mkdir()
    moved = tmp_path / "deeper" / "moved.npz"
    moved.write_bytes(Path(tiny.partition(":")[2]).read_bytes())
    assert train_what(replace(quick, data=f"npz:{moved}")) == []


def test_another_study_in_the_folder(quick):
    run(quick)
    before = (quick.out / "records.jsonl").read_bytes()
    with pytest.raises(StudyError) as caught:
        run(replace(quick, width=4, seeds=2))
    text = str(caught.value)
    assert "full,tiled:2; 2 seeds, digest" in text
    assert "another study" in text
    assert "full,tiled:2; 1 seed, digest" in text
    assert "; width=3 instead of 4); choose another folder with --out" in text
    assert (quick.out / "records.jsonl").read_bytes() == before


def test_another_study_without_stored_options(quick):
    run(quick)
    file = quick.out / "records.jsonl"
    records = [
        {key: value for key, value in record.items() if key != "spec"} for record in read_records(quick)
    ]
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    with pytest.raises(StudyError, match=r"another study \(.*; 1 seed, digest \w{16}\); choose"):
        run(replace(quick, width=4))
    assert len(run(quick).trials) == 3


def test_the_same_options_on_other_images(quick, tiny):
    run(quick)
    np.savez(tiny.partition(":")[2], **tiny_arrays(each=12))
    with pytest.raises(StudyError, match="; the same options, but other images, other trained weights or"):
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

    monkeypatch.setattr("weightshare.study.journal.os.fsync", full)
    with pytest.raises(StudyError) as caught:
        run(quick)
    assert str(caught.value) == (
        f"file {str(quick.out / 'records.jsonl')!r}, record of full, seed 0: must be readable and writable, "
        "got No space left on device; free disk space or choose another folder with --out; finished "
        "results are saved."
    )


def test_a_folder_that_is_deleted(quick):
    def delete(state):
        if state.trial:
            shutil.rmtree(quick.out)

    with pytest.raises(StudyError, match=r"got No such file or directory; .* another folder with --out\.$"):
        run(quick, delete)


def test_a_model_that_was_changed(quick):
    run(quick)
    record, *rest = read_records(quick)
    changed = {**record, "row": {**record["row"], "parameters": 12345}}
    file = quick.out / "records.jsonl"
    file.write_text("".join(json.dumps(one) + "\n" for one in (changed, *rest)))
    with pytest.raises(StudyError) as caught:
        run(quick)
    assert str(caught.value) == (
        f"folder {str(quick.out)!r}: must contain trials of this model, with {record['row']['parameters']:,} "
        "parameters in row full, got 12,345 parameters; choose another folder with --out."
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


@pytest.mark.parametrize(
    "content",
    [
        b'{"run": 1, "loss": 0.5}',
        b'{"run": 1, "loss": 0.5}\n{"run": 2}\n',
        b"my notes of Monday\n",
        b'{"stud',  # the beginning of a record, but beside files that are not those of a study
        b'{"study": "of my thesis", "loss": 0.5}',
        b'{"study": "of my thesis", "loss": 0.5}\n',
        b"",
        b"\xff\xfe",
    ],
)
def test_foreign_records_are_left_alone(quick, content):
    quick.out.mkdir()
    (quick.out / "records.jsonl").write_bytes(content)
    (quick.out / "train.py").write_text("print(1)")
    with pytest.raises(StudyError, match="must be"):
        run(quick)
    assert (quick.out / "records.jsonl").read_bytes() == content
    assert (
        {"records.jsonl", "train.py"} <= set(os.listdir(quick.out)) <= {"records.jsonl", "train.py", ".lock"}
    )


@pytest.mark.parametrize("line", [b"my notes of Monday", b"my notes of Monday\n", b'{"study": "other", "a'])
def test_a_foreign_line_after_the_records_is_left_alone(quick, line):
    run(quick)
    file = quick.out / "records.jsonl"
    content = file.read_bytes() + line
    file.write_bytes(content)
    with pytest.raises(StudyError, match="line 4: must be the record of a trial, got something else"):
        run(quick)
    assert file.read_bytes() == content


@pytest.mark.parametrize("torn", [b"{", b'{"study": "', b""])
def test_a_study_that_was_killed_at_its_first_record_continues(quick, torn):
    quick.out.mkdir()
    (quick.out / "records.jsonl").write_bytes(torn)
    assert len(run(quick).trials) == len(read_records(quick)) == 3


@pytest.mark.parametrize("name", ["thesis.tex", "results.json", "report.html"])
def test_a_folder_with_other_files(quick, name):
    quick.out.mkdir()
    (quick.out / name).write_text("mine")
    with pytest.raises(
        StudyError,
        match=f"must be empty or contain a study, got '{name}'; choose another folder with --out",
    ):
        run(quick)
    assert os.listdir(quick.out) == [name]
    assert (quick.out / name).read_text() == "mine"


def test_out_below_a_folder_that_cannot_be_entered(quick, monkeypatch):
    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "exists", refuse)
    with pytest.raises(StudyError, match="must be a writable folder, got Permission denied"):
        run(quick)


def test_out_with_a_name_that_is_too_long(quick):
    with pytest.raises(StudyError, match="must be a writable folder, got File name too long"):
        run(replace(quick, out=quick.out / ("a" * 300)))


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
        {"strategy": "ddp_spawn"},
        {"strategy": "ddp_notebook"},
        {"metric": "rmse"},
        {"widths": "4096", "sharings": "local"},
        {"train_sizes": "1000"},
        {"augment": "shift:6"},
        {"schedules": "relax:2"},
    ],
)
def test_nothing_is_written_before_everything_is_checked(quick, change):
    with pytest.raises(ValueError, match="got"):
        run(replace(quick, **change))
    assert not quick.out.exists()
