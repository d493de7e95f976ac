"""The benchmark for GPUs runs on the CPU, writes its results, and finds wrong layers."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from weightshare import nn

ROOT = Path(__file__).parents[1]
COMMAND = [sys.executable, "benchmarks/gpu.py"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": "src", "OMP_NUM_THREADS": "1"}


@pytest.fixture
def gpu_checks(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import gpu_checks

    return gpu_checks


def check(gpu_checks, rounds=1):
    return list(gpu_checks.check_random_layers(torch.device("cpu"), rounds, time.monotonic() + 60))


def test_a_quick_run_on_the_cpu(tmp_path):
    command = [*COMMAND, "--device", "cpu", "--quick", "--out", str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=True, timeout=300
    )
    written = json.loads((tmp_path / "gpu.json").read_text())
    assert written["settings"] == {"tf32": False, "quick": True}
    assert written["machine"]["torch"] == torch.__version__
    assert written["checks"]["failed"] == []
    assert written["checks"]["number"] == 2 * 3 * 8 * 3 + 3 + 5
    errors = written["checks"]["largest_errors"]
    assert 0 < errors["float64"] < 1e-12 < errors["float32"] < 1e-5 < errors["bfloat16"]
    assert [(row["dtype"], row["section"]) for row in written["rows"]] == [
        (dtype, section)
        for dtype in ("float32", "bfloat16")
        for section in ("local", "grouped", "transposed", "partial", "full")
    ]
    for row in written["rows"]:
        assert row["skipped"] == {}
        for what in ("forward", "training"):
            assert all(side["median_ms"] > 0 and side["rounds"] == 2 for side in row[what].values())
    assert written["rows"][0]["forward"].keys() == {
        "weightshare",
        "unfold + einsum",
        "F.unfold + bmm",
        "broadcast",
        "shared conv",
    }
    lines = done.stdout.splitlines()
    assert f"{written['checks']['number']} checks, 0 failed" in done.stdout
    assert sum(line.startswith("| local: tiny") for line in lines) == 2
    assert "Not measured" not in done.stdout


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_exit_code_is_2():
    done = subprocess.run(COMMAND, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "finds no CUDA GPU; --device cpu --quick runs the code on the CPU." in done.stderr


@pytest.mark.parametrize(
    ("name", "kind"),
    [("Conv1d", "Conv1d"), ("ConvTranspose3d", "ConvTranspose3d")],
    ids=["conv", "transposed"],
)
def test_wrong_outputs_are_found(gpu_checks, monkeypatch, name, kind):
    forward = getattr(nn, kind).forward
    monkeypatch.setattr(getattr(nn, kind), "forward", lambda self, x: forward(self, x) * 1.1)
    results = check(gpu_checks)
    wrong = [result for result in results if name in result["layer"]]
    assert len(wrong) == 24
    assert all(result["failure"].startswith("the relative error is") for result in wrong)
    assert [result for result in results if result["failure"]] == wrong


class DoubleGrad(torch.autograd.Function):
    """The identity, with twice its gradient."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return 2 * grad


def test_wrong_gradients_and_exceptions_are_found(gpu_checks, monkeypatch):
    forward = nn.Conv2d.forward

    def fail(self, x):
        raise ValueError("not on this device")

    monkeypatch.setattr(nn.Conv2d, "forward", lambda self, x: forward(self, DoubleGrad.apply(x)))
    monkeypatch.setattr(nn.Conv3d, "forward", fail)
    results = check(gpu_checks)
    for result in results:
        expected = {"Conv2d": "the relative error is", "Conv3d": "ValueError: not on this device"}
        start = expected.get(result["layer"].partition("(")[0])
        assert (result["failure"] or "").startswith(start or ""), result
        assert (result["failure"] is None) == (start is None)


def test_a_failed_check_gives_exit_code_1(gpu_checks, monkeypatch, tmp_path, capsys):
    import gpu

    monkeypatch.setattr(
        sys, "argv", ["gpu.py", "--device", "cpu", "--quick", "--checks-only", "--out", str(tmp_path)]
    )
    assert gpu.main() == 0
    forward = nn.Conv2d.forward
    monkeypatch.setattr(nn.Conv2d, "forward", lambda self, x: forward(self, x) * 1.1)
    assert gpu.main() == 1
    printed = capsys.readouterr()
    assert "- FAILED: float64: Conv2d(" in printed.out
    assert "FAILED: float32: Conv2d(" in printed.err
