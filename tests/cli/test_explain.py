"""`weightshare explain` prints the explanation of a layer; each error is one line with exit code 2."""

import json
import subprocess
import sys
from functools import partial

import pytest

from weightshare import explain

ALEXNET = "Conv2d(3, 96, 11, stride=4)"


@pytest.fixture
def run(command_line):
    return partial(command_line, "explain")


def test_it_prints_the_derivation(run):
    assert run(ALEXNET, "--input", "3x227x227") == (0, f"{explain(ALEXNET, 227)}\n", "")


def test_it_prints_json(run):
    code, out, _ = run(ALEXNET, "--input", "227x227", "--sharing", "local", "--json")
    counts = json.loads(out)
    assert code == 0
    assert counts["parameters"] == 105_705_600
    assert counts["by_sharing"] == {"full": 34_944, "local": 105_705_600, "dense": 44_892_355_200}
    assert (counts["input"], counts["output"]) == ([3, 227, 227], [96, 55, 55])
    assert (counts["neurons"], counts["weights_per_neuron"]) == (290_400, 363)
    assert counts["spec"] == "Conv2d(3, 96, 11, stride=4, sharing='local')"


@pytest.mark.parametrize(
    ("layer", "size", "parameters"),
    [
        ("self.lstm = nn.LSTM(10, 20)", None, 2560),
        ("LSTM(64)", "(50, 10)", 19_200),
        ("SeparableConv2D(64, 3)", "32x32x3", 283),
        ("Conv2D(64, 3, input_shape=(None, None, 3))", None, 1792),
        ("(conv1): Conv2d(3, 64, kernel_size=(7, 7), stride=(2, 2), bias=False)", "3×224×224", 9408),
        ("nn.Sequential(nn.Flatten(), nn.Linear(28*28, 10))", "[1, 28, 28]", 7850),
    ],
)
def test_other_layers_and_sizes(run, tmp_path, layer, size, parameters):
    given = [layer, "--html", str(tmp_path / "page.html"), *(["--input", size] if size else [])]
    code, out, _ = run(*given, "--json")
    assert (code, json.loads(out)["parameters"]) == (0, parameters)
    assert f"{parameters:,}" in run(*given)[1]
    assert f"{parameters:,}" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_an_input_of_five_elements(run):
    code, out, _ = run("Conv1d(1, 1, 3, bias=False)", "--input", "1x5", "--json")
    assert code == 0
    assert json.loads(out)["by_sharing"] == {"full": 3, "local": 9, "dense": 15}


def test_it_writes_a_page(run, tmp_path):
    code, _, _ = run(ALEXNET, "--html", str(tmp_path / "page.html"))
    assert code == 0
    assert "34,944" in (tmp_path / "page.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["Conv2(3, 8, 3)"], "weightshare: layer: must be one of Conv1d"),
        (["[red]Conv2d(3, 8, 3)"], "'[red]Conv2d(3, 8, 3)'"),
        (["\x1b[31mConv2d(3, 8, 3)"], "'\\x1b[31mConv2d(3, 8, 3)'"),
        (["__import__('os').system('ls')"], "must call a layer class by its name"),
        (["Conv2d(3, 8, 0)"], "kernel_size must be at least 1, got 0."),
        ([ALEXNET, "--input", "axb"], "input size: must be integers joined by \"x\", got 'axb'"),
        ([ALEXNET, "--input", "3x9x9"], "Conv2d: the padded input must be at least (11, 11)"),
        ([ALEXNET, "--input", "1x227x227"], "Conv2d: the input must have in_channels=3, got 1"),
        ([ALEXNET, "--input", "9" * 50], "must be at most 1,000,000,000"),
        ([ALEXNET, "--input", "227", "--sharing", "regional:99"], "needs an output of at least 99 x 99"),
        ([ALEXNET, "--input", "227", "--sharing", "mapped:/none.npy"], "must name a readable .npy file"),
        ([ALEXNET, "--sharing", "local"], "needs an input size, got none; pass input_size"),
        ([ALEXNET, "--html", "/none/page.html"], "page: path must be a writable file"),
        (["Conv2D(96, 11)"], "needs in_channels, which Keras infers from the input"),
    ],
)
def test_an_error_is_one_line_and_exit_code_2(run, arguments, expected):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert expected in err
    assert err.count("\n") == 1
    assert err.strip().isprintable()


def test_an_unknown_option_is_exit_code_2(run):
    assert run(ALEXNET, "--inptu", "3")[0] == 2


def test_as_a_program():
    command = [sys.executable, "-m", "weightshare.cli", "explain"]
    done = subprocess.run([*command, "Conv2d(3, 8, k)"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    program = (
        "import sys; sys.argv = ['weightshare', '--help']\n"
        "import weightshare.cli\n"
        "try: weightshare.cli.main()\n"
        "finally: assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0
    assert "explain" in done.stdout
