"""`weightshare diagnose`: thin around `sharing_test`, with one line per error."""

import json
import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn

import weightshare
from tests.helpers.diagnosed import make_examples, make_network
from weightshare.cli.progress import DiagnoseTerminal
from weightshare.diagnose import Progress


def absolute(output, target):
    return (output - nn.functional.one_hot(target, 3)).abs().mean()


@pytest.fixture
def diagnose(command_line, monkeypatch, tmp_path):
    """Run `weightshare diagnose` in an empty folder with the module `mine`."""
    module = ModuleType("mine")
    x, y = (t.numpy() for t in make_examples(60).tensors)
    vars(module).update(net=make_network, data=lambda: (x, y), absolute=absolute)
    monkeypatch.setitem(sys.modules, "mine", module)
    monkeypatch.chdir(tmp_path)
    np.savez("split.npz", x_train=x[:40], y_train=y[:40], x_test=x[40:], y_test=y[40:])
    return lambda *arguments: command_line("diagnose", *arguments)


def test_the_table_and_the_page(diagnose, tmp_path):
    code, out, _ = diagnose("mine:net", "--data", "mine:data", "--epochs", "1", "--html", "page.html")
    assert code == 0
    assert out.startswith("Sharing test of Sequential\n")
    assert "60 judged examples" in out
    assert "data:image/png" in (tmp_path / "page.html").read_text()


def test_the_table_is_printed_if_the_page_cannot_be_written(diagnose):
    code, out, err = diagnose(
        "mine:net", "--data", "mine:data", "--epochs", "1", "--html", "missing/page.html"
    )
    assert code == 2
    assert out.startswith("Sharing test of Sequential\n")
    assert err.splitlines()[-1].startswith("weightshare: page: path must be a writable file")


def test_options(diagnose):
    options = ("--epochs", "1", "--layers", "3", "--rank", "1", "--loss", "mine:absolute", "--json")
    code, out, err = diagnose("mine:net", "--data", "npz:split.npz", *options)
    found = json.loads(out)
    assert code == 0, err
    assert [(layer["name"], layer["suggestion"]) for layer in found["layers"]] == [("3", "lowrank:1")]
    assert found["judged"] == 20


def test_ties(diagnose):
    def build():
        model = nn.Sequential(nn.Flatten(), nn.Linear(36, 36), nn.ReLU(), nn.Linear(36, 36), nn.Linear(36, 3))
        model[3].weight = model[1].weight
        model[3].bias = model[1].bias
        return model

    sys.modules["mine"].net = build
    options = ("--epochs", "1", "--ties", "1.weight", "--json")
    code, out, err = diagnose("mine:net", "--data", "mine:data", *options)
    assert code == 0, err
    (tie,) = json.loads(out)["ties"]
    assert tie["names"] == [["1.weight", "3.weight"], ["1.bias", "3.bias"]]
    code, out, err = diagnose("mine:net", "--data", "mine:data", "--ties", "3.weight")
    assert (code, out) == (2, "")
    assert err.endswith(
        "ties must contain names of tied parameters, got '3.weight'; did you mean '1.weight'?\n"
    )


def test_a_layer_with_several_kernels(diagnose):
    local = weightshare.nn.Conv2d(1, 2, 3, sharing=weightshare.Local(), input_size=6)
    sys.modules["mine"].net = lambda: nn.Sequential(local, nn.Flatten(), nn.Linear(32, 3))
    code, out, err = diagnose("mine:net", "--data", "mine:data", "--epochs", "1", "--layers", "0")
    assert code == 0, err
    assert "The verdict is to share one kernel in a layer with several" in out


def test_the_same_command_continues(diagnose, tmp_path):
    arguments = ("mine:net", "--data", "mine:data", "--epochs", "1", "--out", "folder")
    _, first, _ = diagnose(*arguments)
    before = (tmp_path / "folder/records.jsonl").read_bytes()
    _, second, _ = diagnose(*arguments)
    assert first == second
    assert (tmp_path / "folder/records.jsonl").read_bytes() == before


def test_an_interrupt_ends_quietly(diagnose, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("weightshare.diagnose.sharing_test", interrupt)
    code, out, err = diagnose("mine:net", "--data", "mine:data", "--out", "folder")
    assert (code, out) == (130, "")
    assert err.endswith("Finished trials are saved in folder; run the same command again to continue.\n")
    _, _, err = diagnose("mine:net", "--data", "mine:data")
    assert err.endswith("Give --out to be able to continue an interrupted test.\n")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("mine:net", "--data", "digitz"), "study data: must be one of digits, faces, npz:FILE, folder:DIR"),
        (
            ("mine:net", "--data", "digits"),
            "must run on inputs of shape [16, 1, 8, 8], got RuntimeError",
        ),
        (("mine:nett", "--data", "digits"), "mine"),
        (("mine:net", "--data", "mine:data", "--layers", "33"), "got '33'; did you mean '3'?"),
        (("mine:net", "--data", "mine:data", "--epochs", "0"), "epochs must be at least 1, got 0."),
        (("mine:net", "--data", "mine:data", "--workers", "0"), "workers must be at least 1, got 0."),
        (
            ("mine:net", "--data", "mine:data", "--learning-rate", "-1"),
            "learning_rate must be a number of at le",
        ),
        (
            ("mine:net", "--data", "mine:data", "--loss", "mine:los"),
            "must name a function, got no 'los'",
        ),
        (
            ("mine:net", "--data", "mine:data", "--task", "segment"),
            "task must be auto, classification",
        ),
        (("torch.nn:Identity", "--data", "mine:data"), "the model must contain a convolution"),
    ],
)
def test_errors_are_one_line(diagnose, arguments, text):
    code, out, err = diagnose(*arguments)
    assert (code, out) == (2, "")
    line = err.splitlines()[-1]
    assert line.startswith("weightshare: ")
    assert "Traceback" not in err
    assert text in line


def test_the_model_may_print(diagnose, monkeypatch):
    def build():
        print("weights loaded")
        return make_network()

    sys.modules["mine"].net = build
    code, out, err = diagnose("mine:net", "--data", "mine:data", "--epochs", "1", "--json")
    assert code == 0
    assert json.loads(out)["model"] == "Sequential"
    assert "weights loaded" in err


def test_names_cannot_control_the_terminal(diagnose):
    model = nn.Sequential()
    model.add_module("red\x1b[31m", nn.Conv2d(1, 2, 3))
    model.add_module("end", nn.Sequential(nn.Flatten(), nn.Linear(32, 3)))
    sys.modules["mine"].net = lambda: model
    torch.manual_seed(0)
    code, out, err = diagnose("mine:net", "--data", "mine:data", "--epochs", "1")
    assert code == 0
    assert "\x1b[31m" not in out + err
    assert "red\\x1b[31m" in out


def test_progress_is_written_as_lines_where_there_is_no_terminal(capsys, monkeypatch):
    clock = iter([0.0, 10.0, 40.0, 41.0, 50.0])
    monkeypatch.setattr("weightshare.cli.progress.time.monotonic", lambda: next(clock))
    with DiagnoseTerminal() as terminal:
        for done, layer in enumerate(["", "a\x1b", "b"], 1):
            shown = ("relax", "local") if layer else ("continue", "")
            terminal.update(Progress(done, 4, layer, *shown, stored=False))
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "2/4 a\\x1b, relax (local)\n"
