"""States of long trials: an interrupted trial continues and gives the same results bit for bit."""

import os
from collections import OrderedDict
from dataclasses import replace

import pytest
import torch
from torch import nn

from tests.helpers.study import read_records, without_time
from weightshare import Full
from weightshare.errors import StudyError
from weightshare.study import run
from weightshare.study.trials.states import StateFile
from weightshare.study.trials.training import Training


class Stopped(BaseException):
    """An end of the process at a chosen epoch."""


def stop_at(monkeypatch, epoch):
    """Let every training run stop before this epoch; return a list of the epochs that are trained."""
    run_epoch, trained = Training.run_epoch, []

    def run_until(self):
        if len(self.history.scores) + 1 == epoch:
            raise Stopped
        trained.append((self.row.name, len(self.history.scores) + 1))
        return run_epoch(self)

    monkeypatch.setattr(Training, "run_epoch", run_until)
    return trained


def interrupt(spec, monkeypatch, epoch):
    """Run a study until its first trial stops before this epoch."""
    with monkeypatch.context() as patch:
        stop_at(patch, epoch)
        with pytest.raises(Stopped):
            run(spec, state_seconds=0)


def build_with_dropout(sharing, width):
    return nn.Sequential(
        nn.Conv2d(1, width, 3), nn.BatchNorm2d(width), nn.Dropout(0.5), nn.Flatten(), nn.Linear(16 * width, 2)
    )


@pytest.mark.parametrize(
    "change",
    [
        {"sharings": "lowrank:2"},
        {"sharings": "full", "model": build_with_dropout},
        {"sharings": "local", "task": "reconstruction"},
        {"sharings": "full,local", "schedules": "relax:2"},
        {"sharings": "full", "augment": "shift:1"},
    ],
    ids=["low rank", "dropout", "reconstruction", "relaxed", "augmented"],
)
@pytest.mark.parametrize("epoch", [2, 4])
def test_a_trial_continues_where_it_was_interrupted(quick, tmp_path, monkeypatch, change, epoch):
    spec = replace(quick, epochs_max=5, patience=1, **change)
    run(replace(spec, out=tmp_path / "whole"))
    interrupt(spec, monkeypatch, epoch)
    assert len(os.listdir(spec.out / ".states")) == 1
    trained = stop_at(monkeypatch, 99)
    run(spec, state_seconds=0)
    assert trained[0][1] == epoch
    whole = read_records(replace(spec, out=tmp_path / "whole"))
    assert without_time(read_records(spec)) == without_time(whole)
    assert not (spec.out / ".states").exists()


def test_no_state_is_stored_before_the_interval_has_passed(quick, monkeypatch):
    stop_at(monkeypatch, 2)
    with pytest.raises(Stopped):
        run(quick)
    assert not (quick.out / ".states").exists()


@pytest.mark.parametrize(
    "damage", [lambda content: content[:-100], lambda content: b"", lambda _: b"\x80\x02" * 99]
)
def test_a_damaged_state_is_ignored(quick, monkeypatch, damage):
    interrupt(quick, monkeypatch, 2)
    (file,) = (quick.out / ".states").iterdir()
    file.write_bytes(damage(file.read_bytes()))
    trained = stop_at(monkeypatch, 99)
    run(quick)
    assert trained[0] == ("full", 1)
    assert not (quick.out / ".states").exists()


class Extra(nn.Sequential):
    """A network with a state of more than tensors."""

    def get_extra_state(self):
        return {"sharing": Full()}

    def set_extra_state(self, state):
        pass


def build_with_extra_state(width):
    return Extra(nn.Conv2d(1, width, 3), nn.Flatten(), nn.Linear(16 * width, 2))


def test_a_state_of_more_than_tensors_is_ignored(quick, monkeypatch):
    spec = replace(quick, sharings="full", model=build_with_extra_state)
    interrupt(spec, monkeypatch, 2)
    trained = stop_at(monkeypatch, 99)
    run(spec)
    assert trained[0] == ("full", 1)


def build_changing(width):
    head = nn.Sequential(nn.Flatten(), nn.Linear(16 * width, 2))
    return nn.Sequential(OrderedDict({"conv": nn.Conv2d(1, width, 3), HEAD[0]: head}))


HEAD = ["head"]


def test_a_state_of_another_network(quick, monkeypatch):
    spec = replace(quick, sharings="full", model=build_changing)
    interrupt(spec, monkeypatch, 2)
    monkeypatch.setitem(globals(), "HEAD", ["tail"])
    with pytest.raises(StudyError) as caught:
        run(spec)
    assert str(caught.value) == (
        "study: full, seed 0: must have the network with which this trial was interrupted, got another one "
        "(RuntimeError: Error(s) in loading state_dict for Sequential:); choose another folder with --out."
    )


def test_a_state_on_a_full_disk_is_skipped(tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    (tmp_path / ".states").mkdir()
    file = StateFile(tmp_path, "study", "full", 0, interval=0)
    monkeypatch.setattr("weightshare.study.trials.states.os.fsync", full)
    file.save(lambda: {"x": torch.ones(2)})
    assert file.load() is None
    assert list((tmp_path / ".states").iterdir()) == []
    monkeypatch.undo()
    file.save(lambda: {"x": torch.ones(2)})
    assert torch.equal(file.load()["x"], torch.ones(2))
    assert StateFile(tmp_path, "study", "full", 1).load() is None
    file.remove()
    assert file.load() is None


def test_no_state_is_stored_where_the_folder_does_not_exist(tmp_path):
    file = StateFile(tmp_path / "of another machine", "study", "full", 0, interval=0)
    file.save(dict)
    assert list(tmp_path.iterdir()) == []
    assert StateFile(None, "study", str(Full()), 0, interval=0).load() is None
