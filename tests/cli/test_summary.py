"""`weightshare summary` prints the summary of a model; each error is one line with exit code 2."""

import json
import sys
from functools import partial

import pytest
import torch

import weightshare as ws


@pytest.fixture
def run(command_line):
    return partial(command_line, "summary")


def test_the_unshared_total_of_vgg16(run):
    code, out, err = run("vgg16", "--json")
    totals = json.loads(out)["totals"]
    assert (code, err, totals["unique"]) == (0, "", 138_357_544)
    with torch.device("meta"):
        local = ws.models.vgg16(sharing=ws.Local())
    assert totals["unshared"] == ws.summary(local).totals.unique


def test_the_table(run):
    code, out, _ = run("lenet5", "--heading", "Param #")
    assert code == 0
    assert out == ws.summary(ws.models.lenet5(), input_shape=(1, 28, 28)).to_text("Param #") + "\n"
    assert "Param #" in out


def test_other_forms(run):
    assert run("lenet5", "--markdown")[1].splitlines()[2].startswith("| module | type")
    expected = "14.weight: 1000 output features * 512 input features = 512,000\n"
    assert run("resnet18", "--explain", "14.weight")[1] == expected
    expected = "11,699,112 = 11,689,512 + 9,600 batch-norm statistics\n"
    assert run("resnet18", "--reconcile", "11699112")[1] == expected


def test_a_factory_and_an_input(run):
    code, out, _ = run("torch.nn:Identity", "--input", "3x4", "--json")
    assert (code, json.loads(out)["totals"]["macs"]) == (0, 0)


def test_weights(run, tmp_path):
    path = tmp_path / "lenet.pt"
    torch.save(ws.models.lenet5().state_dict(), path)
    assert run("lenet5", "--weights", str(path))[0] == 0
    code, out, err = run("vgg16", "--weights", str(tmp_path / "absent"))
    assert (code, out) == (2, "")
    assert err.startswith("weightshare: ")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments", [["vgg61"], ["lenet5", "--input", "3xx"], ["lenet5", "--explain", "nothing"]]
)
def test_errors_are_one_line(run, arguments):
    code, out, err = run(*arguments)
    assert (code, out, len(err.splitlines())) == (2, "", 1)


def test_an_input_that_the_model_rejects(run):
    code, out, _ = run("lenet5", "--input", "3x28x28")
    assert code == 0
    assert "FORWARD_FAILED" in out
    assert "61,706" in out


def broken():
    """Return a model with a declared tie whose ends are separate parameters."""
    model = torch.nn.Sequential(torch.nn.Embedding(5, 3), torch.nn.Linear(3, 5, bias=False))
    ws.tie_weights(model, {"1.weight": "0.weight"})
    model[1].weight = torch.nn.Parameter(torch.zeros(5, 3, device=model[1].weight.device))
    return model


def replaced():
    """Return a model whose tied decoder reads a layer that is not in the model."""
    encoder = torch.nn.Linear(3, 5)
    return torch.nn.Sequential(torch.nn.Linear(3, 5), ws.nn.TiedLinear(encoder))


def test_ties(command_line, monkeypatch):
    code, out, _ = command_line("ties", "dense_autoencoder")
    assert code == 0
    assert out.splitlines()[:2] == [
        "1 tie: 1 declared and intact, 0 broken, 0 undeclared",
        "  intact  decoder.weight = encoder.weight (t)",
    ]
    code, out, _ = command_line("ties", "vgg16")
    assert (code, out) == (0, "0 ties\n")
    monkeypatch.setitem(sys.modules, "made_here", sys.modules[__name__])
    code, out, _ = command_line("ties", "made_here:broken")
    assert code == 1
    assert "BROKEN_TIE  1.weight and 0.weight: no longer tied" in out
    code, out, _ = command_line("ties", "made_here:replaced")
    assert code == 1
    assert "LOST_SOURCE  1.weight: read from a module outside this model" in out
