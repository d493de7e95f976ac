"""A study is read from its records alone: finished or not, elsewhere, read-only, and of another version."""

import json
from dataclasses import replace

import pytest

from tests.helpers.study import MATCHED
from weightshare.errors import StudyError
from weightshare.study import read, redraw, run
from weightshare.study.report.page import render_page


@pytest.fixture
def finished(quick):
    """Return the result of a study with a further question, in a folder."""
    return run(replace(quick, train_sizes="4"))


def change_records(folder, change):
    """Apply a function to each record, and write them."""
    file = folder / "records.jsonl"
    records = [json.loads(line) for line in file.read_text().splitlines()]
    file.write_text("".join(json.dumps(change(record)) + "\n" for record in records))


def test_a_study_read_from_its_records_is_the_same(finished):
    found = read(finished.out)
    assert found.to_json() == finished.to_json()
    assert str(found) == str(finished)
    assert found[MATCHED].matches == ("tiled:2",)
    assert [row.setting for row in found.further] == ["4 examples"] * 3


def test_records_in_the_order_in_which_workers_finish(finished):
    file = finished.out / "records.jsonl"
    file.write_text("".join(reversed(file.read_text().splitlines(keepends=True))))
    found = read(finished.out)
    assert found.to_json() == finished.to_json()
    assert str(found) == str(finished)
    assert found.trials == finished.trials


def test_the_report_is_drawn_again_without_the_data(finished, tmp_path):
    page = (finished.out / "report.html").read_text()
    (finished.out / "report.html").unlink()
    (finished.out / "results.json").unlink()
    (tmp_path / "tiny.npz").unlink()
    assert redraw(finished.out) == finished.out / "report.html"
    assert (finished.out / "report.html").read_text() == page
    assert redraw(finished.out, tmp_path / "other.html").read_text() == page


def test_an_unfinished_study(finished):
    file = finished.out / "records.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:2]) + lines[2][:40])
    found = read(finished.out)
    assert [row.sharing for row in found.summary] == ["full", "tiled:2"]
    assert "The study is not finished: 2 of 6 trials have a result." in render_page(found)
    assert file.read_text().endswith(lines[2][:40]), "reading changes nothing"


def test_records_of_another_version(finished):
    def change(record):
        record["environment"]["weightshare"] = "99.0"
        record["row"]["color"] = record["data"]["origin"] = record["future"] = 1
        return {**record, "study": "f" * 16}

    change_records(finished.out, change)
    assert str(read(finished.out)) == str(finished)
    assert "99.0" in redraw(finished.out).read_text()


def test_a_folder_that_cannot_be_written(finished, tmp_path, monkeypatch):
    def refuse(path, text):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("weightshare.study.reading.write_atomic", refuse)
    with pytest.raises(StudyError, match=r"report\.html': must be writable, got Permission denied; choose"):
        redraw(finished.out)


def test_records_without_a_description(finished):
    change_records(finished.out, lambda record: {k: v for k, v in record.items() if k != "row"})
    with pytest.raises(StudyError) as caught:
        read(finished.out)
    assert str(caught.value) == (
        f"file '{finished.out}/records.jsonl', line 1: must be the record of a trial, with a description of "
        "the study, got something else; run the study again; records of older versions cannot be read."
    )


@pytest.mark.parametrize("line", ["{}", '{"row": 1}', '{"row": {}, "metric": "accuracy"}'])
def test_lines_that_are_not_records(finished, line):
    (finished.out / "records.jsonl").write_text(line + "\n")
    with pytest.raises(StudyError, match="line 1: must be the record of a trial"):
        read(finished.out)


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("data", "size", 3),
        ("data", "class_names", [1, 2]),
        ("data", "majority", [0.5]),
        ("row", "parameters", True),
        ("row", "macs", 10**400),
        ("row", "setting", None),
        ("scale", "is_fraction", "yes"),
        ("environment", "torch", 2.11),
    ],
)
def test_values_of_other_types(finished, part, name, value):
    change_records(finished.out, lambda record: {**record, part: {**record[part], name: value}})
    with pytest.raises(StudyError, match="line 1: must be the record of a trial"):
        read(finished.out)


def test_scores_of_other_classes(finished):
    change_records(finished.out, lambda record: {**record, "class_scores": []})
    with pytest.raises(StudyError, match="line 1: must be the record of a trial"):
        read(finished.out)


def test_records_of_two_studies(finished):
    records = iter("ab" * 3)
    change_records(finished.out, lambda record: {**record, "study": next(records)})
    with pytest.raises(StudyError, match="line 2: all records must belong to one study, got another study"):
        read(finished.out)


def test_folders_without_records(tmp_path):
    with pytest.raises(StudyError, match=r"must contain the records\.jsonl of a study, got No such file"):
        read(tmp_path)
    (tmp_path / "records.jsonl").write_text("")
    with pytest.raises(StudyError, match="must contain a finished trial, got none"):
        read(tmp_path)


def test_the_command_line_draws_it_again(finished, tmp_path, command_line):
    page = (finished.out / "report.html").read_text()
    code, out, err = command_line("study", "--report", str(finished.out), "--out", "-")
    assert (code, out, err) == (0, page + "\n", "")
    code, out, _ = command_line("study", "--report", str(finished.out), "--out", str(tmp_path / "r.html"))
    assert (code, out) == (0, f"Report: {tmp_path / 'r.html'}\n")
    assert (tmp_path / "r.html").read_text() == page
    code, _, err = command_line("study", "--report", str(tmp_path / "none"))
    assert code == 2
    assert "must contain the records.jsonl of a study" in err
    code, _, err = command_line("study")
    assert code == 2
    assert "give a data set" in err
