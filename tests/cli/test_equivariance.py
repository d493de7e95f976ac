"""`weightshare equivariance` prints the trace of a model; each error is one line with exit code 2."""

import json
import sys
from functools import partial
from types import ModuleType

import pytest
import torch
from torch import nn

import weightshare as ws
from weightshare.symmetry import EquivarianceTrace, Interventions
from weightshare.symmetry.trace.interventions import Effect


@pytest.fixture
def run(command_line):
    return partial(command_line, "equivariance")


def test_a_model_of_the_zoo(run):
    code, out, err = run("lenet5", "--shift", "1", "--shift", "4", "--shift", "0x2")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("equivariance to shift (1, 1) is first lost at '0'")
    assert "flatten" in out
    assert "relative error of the output for shift 4: 0." in out
    assert "  down-sampling (2 operations): " in out


def test_crops_turns_and_flips(run):
    code, out, err = run("lenet5", "--transform", "crop", "--shift", "4")
    assert (code, err) == (0, "")
    assert out.startswith("equivariance to translate((4, 4), 'crop') is first lost at '7'")
    for transform in ("rotate90", "flip:0", "flip:-1"):
        code, out, _ = run("lenet5", "--transform", transform, "--json")
        found = json.loads(out)
        assert (code, found["first_loss"], found["is_exact"]) == (0, "0", False)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--transform", "turn"], "--transform must be shift, crop with one --shift, rotate90 or flip:AXIS"),
        (["--transform", "flip:x"], "got 'flip:x'"),
        (["--transform", "flip:5"], "axis must be one of the 2 spatial axes"),
        (["--transform", "crop", "--shift", "1", "--shift", "2"], "crop with one --shift"),
        (["--transform", "rotate90", "--shift", "1"], "--shift is for --transform shift or crop"),
        (["--transform", "crop", "--shift", "28"], "two crops must overlap"),
    ],
)
def test_bad_transforms(run, arguments, part):
    code, out, err = run("lenet5", *arguments)
    assert (code, out) == (2, "")
    assert part in err


def test_as_json(run):
    arguments = ["lenet5", "--shift", "2", "--json", "--seed", "3"]
    code, out, _ = run(*arguments)
    found = json.loads(out)
    assert code == 0
    assert (found["shift"], found["first_loss"]) == ([2, 2], "0")
    assert {e["cause"] for e in found["interventions"]["effects"]} >= {"down-sampling"}
    torch.manual_seed(3)
    model = ws.models.lenet5().double().eval()
    trace = ws.trace_equivariance(model, torch.randn(1, 1, 28, 28, dtype=torch.float64), 2)
    assert found["error"] == pytest.approx(trace.error)
    assert run(*arguments)[1] == out


def test_weights_and_no_interventions(run, tmp_path):
    path = tmp_path / "lenet.pt"
    torch.save(ws.models.lenet5().state_dict(), path)
    code, out, _ = run("lenet5", "--weights", str(path), "--no-interventions")
    assert code == 0
    assert "causes removed" not in out


def factory():
    return nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.MaxPool2d(2))


def test_a_shift_that_is_fractional_at_the_output(run, monkeypatch, tmp_path):
    (tmp_path / "mine.py").write_text("from tests.cli.test_equivariance import factory")
    monkeypatch.chdir(tmp_path)
    code, out, _ = run("mine:factory", "--input", "1x8x8")
    assert code == 0
    assert out.splitlines()[-1].startswith("interventions: the shift must be a whole number of positions")


class Function(nn.Module):
    def __init__(self, function, **parts):
        super().__init__()
        self.function = function
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, x):
        return self.function(self, x)


class Two(nn.Module):
    def forward(self, x, y):
        return x + y


MODELS = {
    "two": Two,
    "keys": lambda: Function(lambda self, x: {"[b]": x, "aux": x}),
    "pair": lambda: Function(lambda self, x: (None, x)),
    "nothing": lambda: Function(lambda self, x: None),
    "tokens": lambda: Function(lambda self, x: self.embed(x), embed=nn.Embedding(10, 4)),
    "conv": lambda: nn.Conv2d(1, 2, 3),
    "pointwise": lambda: nn.Conv2d(1, 2, 1),
    "lazy": lambda: nn.LazyConv2d(2, 3),
    "meta": lambda: nn.Conv2d(1, 2, 3, device="meta"),
    "quantized": lambda: torch.ao.nn.quantized.Linear(8, 8),
    "stops": lambda: Function(lambda self, x: sys.exit(3)),
    "deep": lambda: Function(lambda self, x: self.function(self, x)),
}


@pytest.mark.filterwarnings("ignore:.*quantized tensor creation functions")
@pytest.mark.parametrize(
    ("model", "size", "text"),
    [
        (
            "two",
            "1x8x8",
            "mine_too:two: the model must take one input, got x, y; name a factory whose model",
        ),
        ("keys", "1x8x8", "got dict with keys '[b]', 'aux'; wrap the model so that it returns one of its"),
        ("keys", "1x8x8", "e.g. lambda x: model(x)['[b]']."),
        (
            "pair",
            "1x8x8",
            "the output must be one tensor, got tuple; wrap the model so that it returns one of",
        ),
        ("pair", "1x8x8", "e.g. lambda x: model(x)[1]."),
        ("nothing", "1x8x8", "Function: the output must be one tensor, got NoneType."),
        (
            "tokens",
            "1x8x8",
            "must run on a float64 input of shape 1x8x8, got an error in embed (Embedding): ",
        ),
        ("conv", "3x8x8", "must run on a float64 input of shape 3x8x8, got RuntimeError: Given groups=1"),
        (
            "conv",
            "1x2x2",
            "Kernel size can't be greater than actual input size; pass the shape that it takes",
        ),
        (
            "pointwise",
            "1x1x1",
            "--input must have an axis with more than one position, so that it can be shif",
        ),
        (
            "lazy",
            "1x8x8",
            "mine_too:lazy: the sizes of the model must be known, got 'weight' of a lazy module",
        ),
        ("meta", "1x8x8", "mine_too:meta: the model must have values, got 'weight' on the meta device"),
        ("quantized", "8x8", "must run on a float64 input of shape 8x8, got NotImplementedError"),
        ("stops", "1x8x8", "got SystemExit: 3"),
        ("deep", "1x8x8", "got RecursionError"),
    ],
)
def test_a_model_that_cannot_be_traced_is_one_line(run, monkeypatch, model, size, text):
    module = ModuleType("mine_too")
    vars(module).update(MODELS)
    monkeypatch.setitem(sys.modules, "mine_too", module)
    code, out, err = run(f"mine_too:{model}", "--input", size)
    assert (code, out) == (2, "")
    line = err.splitlines()[-1]
    assert line.startswith("weightshare: ")
    assert "Traceback" not in err
    assert text in line


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["lenet5", "--input", "28x28"], "lenet5: the model must run on a float64 input of shape 28x28"),
        (["vgg61"], "did you mean 'vgg16'"),
        (["torch.nn:ReLU"], "equivariance: needs the shape of one example, got none; add --input"),
        (
            ["lenet5", "--shift", "one"],
            "--shift must be an integer number of pixels, or one per axis joined by x, got 'one'",
        ),
        (["lenet5", "--shift", "0"], "shift must not be a multiple of the input size (28, 28), got 0"),
        (["lenet5", "--shift", "1x1x1"], "one integer for each of 2 spatial axes"),
        (
            ["torch.nn:ReLU", "--input", "3"],
            "floating-point tensor [N, C, *spatial], got torch.float64 of shape",
        ),
    ],
)
def test_errors_are_one_line(run, arguments, text):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("weightshare: ")
    assert len(err.splitlines()) == 1
    assert text in err


def test_activations_that_do_not_fit_are_refused(run, monkeypatch):
    monkeypatch.setattr("weightshare._memory.get_free_bytes", lambda: 50_000)  # the input needs 12,544 bytes
    code, out, err = run("lenet5")
    assert (code, out) == (2, "")
    assert "equivariance: the tensors of a trace must fit in 50,000 bytes of memory, got input 1x28x28" in err


def test_infinite_errors_are_null_in_json(run, monkeypatch):
    effect = Effect("padding", ("0",), float("inf"), 0.5)
    changed = Interventions((1, 1), 0.5, (effect,), float("inf"), float("nan"))
    monkeypatch.setattr(EquivarianceTrace, "interventions", lambda self: changed)
    monkeypatch.setattr(EquivarianceTrace, "at", lambda self, shift: float("inf"))
    code, out, _ = run("lenet5", "--shift", "1", "--shift", "2", "--json")
    found = json.loads(out, parse_constant=pytest.fail)
    assert code == 0
    assert found["shifts"] == {"2": None}
    assert found["interventions"]["rest"] is None
    assert found["interventions"]["interaction"] is None
    assert found["interventions"]["effects"][0]["alone"] is None
    assert found["interventions"]["effects"][0]["without"] == 0.5
