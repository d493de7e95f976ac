"""The folder of a sharing test: interrupted tests continue, and what does not belong to a test is refused."""

import functools
import json

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss

import weightshare as ws
from tests.helpers.diagnosed import QUICK, StoppedError, make_examples, make_network, make_planted, stop_after
from weightshare.errors import StudyError

DATA = make_examples()


def test_an_interrupted_test_continues_with_equal_results(tmp_path):
    model, data = make_network(), make_examples()
    complete = ws.sharing_test(model, data, cross_entropy, **QUICK)
    with pytest.raises(StoppedError):
        ws.sharing_test(model, data, cross_entropy, out=tmp_path / "a", progress=stop_after(3), **QUICK)
    file = tmp_path / "a" / "records.jsonl"
    assert len(file.read_text().splitlines()) == 3
    with open(file, "a") as torn:
        torn.write(file.read_text()[:40])
    states = []
    test = ws.sharing_test(model, data, cross_entropy, out=tmp_path / "a", progress=states.append, **QUICK)
    assert test.to_json() == complete.to_json()
    assert [state.stored for state in states] == [True] * 3 + [False] * (len(states) - 3)
    again = []
    ws.sharing_test(model, data, cross_entropy, out=tmp_path / "a", progress=again.append, **QUICK)
    assert all(state.stored for state in again)
    assert again[-1].done == again[-1].total


def test_a_test_that_was_interrupted_while_alternatives_are_tried_continues(tmp_path):
    model, data, _ = make_planted(100, strength=5.0)
    options = {"batch_size": 20, "rule": ws.diagnose.Rule(least_examples=50), "out": tmp_path}
    with pytest.raises(StoppedError):
        ws.sharing_test(model, data, mse_loss, progress=stop_after(19), **options)
    states = []
    with ws.study.ProcessExecutor(1) as executor:
        test = ws.sharing_test(model, data, mse_loss, progress=states.append, executor=executor, **options)
    assert [state.stored for state in states] == [True] * 19 + [False] * 5
    assert {state.sharing.partition(":")[0] for state in states[19:]} == {"along", "local", "mapped"}
    again = ws.sharing_test(model, data, mse_loss, **options)
    assert again.to_json() == test.to_json()


@pytest.mark.parametrize("change", ["model", "data", "epochs", "loss", "optimizer", "text"])
def test_the_folder_of_another_test_is_refused_and_unchanged(change, tmp_path):
    ws.sharing_test(make_network(), DATA, cross_entropy, out=tmp_path, epochs=1, layers=["0"])
    file = tmp_path / "records.jsonl"
    if change == "text":
        file.write_text("notes\n")
    before = file.read_text()
    model, data, loss = make_network(), DATA, cross_entropy
    if change == "model":
        torch.nn.init.ones_(model[0].weight)
    if change == "data":
        data = make_examples(70)
    if change == "loss":
        loss = nn.CrossEntropyLoss(label_smoothing=0.1)
    optimizer = functools.partial(torch.optim.SGD, lr=0.1) if change == "optimizer" else None
    epochs = 2 if change == "epochs" else 1
    with pytest.raises(StudyError, match="must be empty or contain the test of this model with these data"):
        ws.sharing_test(model, data, loss, out=tmp_path, epochs=epochs, optimizer=optimizer, layers=["0"])
    assert file.read_text() == before


def test_a_frozen_layer_makes_another_test(tmp_path):
    model = make_network()
    ws.sharing_test(model, DATA, cross_entropy, out=tmp_path, epochs=1, layers=["3"])
    model[0].requires_grad_(False)
    with pytest.raises(StudyError, match="another test"):
        ws.sharing_test(model, DATA, cross_entropy, out=tmp_path, epochs=1, layers=["3"])


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record.pop("kind"),
        lambda record: record.update(kind=[]),
        lambda record: record.update(fold=2),
        lambda record: record.update(losses=record["losses"][:3]),
        lambda record: record.update(losses=["low"] * len(record["losses"])),
        lambda record: record.update(losses=None),
    ],
)
def test_damaged_records_are_refused(change, tmp_path):
    ws.sharing_test(make_network(), DATA, cross_entropy, out=tmp_path, epochs=1, layers=["0"])
    file = tmp_path / "records.jsonl"
    record = json.loads(file.read_text().splitlines()[0])
    change(record)
    file.write_text(json.dumps(record) + "\n")
    with pytest.raises(StudyError) as error:
        ws.sharing_test(make_network(), DATA, cross_entropy, out=tmp_path, epochs=1, layers=["0"])
    expected = "must contain complete records, got a damaged one in records.jsonl; choose another folder."
    assert str(error.value) == f"folder {str(tmp_path)!r}: {expected}"


def test_more_layers_use_the_stored_trials(tmp_path):
    states = []
    ws.sharing_test(make_network(), DATA, cross_entropy, out=tmp_path, epochs=1, layers=["0"])
    ws.sharing_test(make_network(), DATA, cross_entropy, out=tmp_path, epochs=1, progress=states.append)
    assert {(s.layer, s.candidate) for s in states if s.stored} >= {("", "continue"), ("0", "relax")}
    assert all(not s.stored for s in states if s.layer == "3")
