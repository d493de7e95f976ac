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


class Reader(torch.nn.Module):
    """A model with a positional, an integer and a keyword input."""

    def __init__(self):
        super().__init__()
        self.embed, self.linear = torch.nn.Embedding(10, 4), torch.nn.Linear(3, 4)
        self.blocks = torch.nn.Sequential(*(torch.nn.Linear(4, 4) for _ in range(6)))

    def forward(self, x, ids, mask=None):
        assert mask is None or mask.dtype == torch.bool
        return self.blocks(self.linear(x) + self.embed(ids))


class NeedsValues(torch.nn.Linear):
    """A layer that reads the value of a tensor."""

    def __init__(self):
        super().__init__(3, 3)

    def forward(self, x):
        return super().forward(x) * x.sum().item()


def build_with_numpy():
    layer = torch.nn.Linear(2, 2)
    layer.weight.detach().numpy()
    return layer


@pytest.fixture
def run_here(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "made_here", sys.modules[__name__])
    return lambda name, *arguments: run(f"made_here:{name}", *arguments)


def test_several_integer_and_named_inputs(run_here):
    code, out, err = run_here("Reader", "--input", "3", "--input", "int:1x1", "--input", "mask=bool:1x2")
    assert (code, err) == (0, "")
    assert out.startswith("Reader on 1 x 3, 1 x 1, 1 x 2\n")
    assert "FORWARD_FAILED" not in out
    named = run_here("Reader", "--input", "ids=int:5x1", "--input", "x=float:5x3", "--json")
    assert json.loads(named[1])["totals"]["macs"] == 5 * 12 + 25 * 6 * 16
    by_default = run_here("Reader", "--input", "3x3", "--input", "int:1x3", "--json")[1]
    assert json.loads(by_default)["input"] == "1 x 3 x 3, 1 x 3"


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (["lng:1x2"], "input: data type must be one of int, float, bool, got 'lng'; use e.g. int:1x128."),
        (["int:"], "input size: must be integers joined by \"x\", got ''; use e.g. 3x227x227 or 227x227."),
        (["=3"], "input: name must be that of an argument, got ''; use e.g. ids=int:1x128."),
        (["a b=3"], "input: name must be that of an argument, got 'a b'; use e.g. ids=int:1x128."),
        (["x=3", "x=4"], "input: each name may be given only once, got 'x'."),
        (["int:0x3"], "input size: number 1 must be at least 1, got 0."),
    ],
)
def test_invalid_inputs(run_here, inputs, message):
    options = [option for text in inputs for option in ("--input", text)]
    assert run_here("Reader", *options) == (2, "", f"weightshare: {message}\n")


def test_the_hint_to_leave_the_meta_device(run_here):
    code, out, err = run_here("NeedsValues", "--input", "3")
    assert code == 0
    assert "FORWARD_FAILED" in out
    assert err == (
        "weightshare: the forward pass failed, maybe because the meta device has no values;"
        ' use "--device cpu"\n'
    )
    code, out, err = run_here("NeedsValues", "--input", "3", "--device", "cpu")
    assert (code, err) == (0, "")
    assert "FORWARD_FAILED" not in out
    code, _, err = run_here("NeedsValues", "--input", "5", "--device", "cpu")
    assert (code, err) == (0, "")
    code, out, err = run_here("build_with_numpy")
    assert (code, out) == (2, "")
    assert 'the meta device has no values; use "--device cpu".' in err
    assert run_here("build_with_numpy", "--device", "cpu")[0] == 0


def test_depth_filter_and_folding(run_here):
    summary = ws.summary(Reader())
    assert run_here("Reader")[1] == f"{summary}\n"
    assert "blocks.0-5  6 x Linear" in str(summary)
    assert run_here("Reader", "--depth", "1")[1] == summary.to_text(depth=1) + "\n"
    assert run_here("Reader", "--no-fold")[1] == summary.to_text(fold=False) + "\n"
    assert run_here("Reader", "--filter", "block*")[1] == summary.to_text(filter="block*") + "\n"
    markdown = run_here("Reader", "--filter", "block*", "--markdown")[1]
    assert markdown == summary.to_markdown(filter="block*") + "\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--depth", "-1"], "summary: depth must be at least 0, got -1."),
        (
            ["--filter", "blocs"],
            "filter must match the name of a module with parameters, got 'blocs'; did you",
        ),
        (
            ["--depth", "1", "--json"],
            "--depth, --filter, --no-fold apply to the table only, got --depth and --json",
        ),
        (["--html", "/absent/page.html"], "page: path must be a writable file"),
    ],
)
def test_invalid_table_options(run_here, options, message):
    code, out, err = run_here("Reader", *options)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert message in err


def test_the_page(run_here, tmp_path):
    path = tmp_path / "page.html"
    code, out, err = run_here("Reader", "--html", str(path))
    assert (code, out, err) == (0, f"{ws.summary(Reader())}\n", "")
    assert "6 x Linear" in path.read_text(encoding="utf-8")
