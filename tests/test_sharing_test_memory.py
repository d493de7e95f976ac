"""The benchmark of the memory of the sharing test."""

import json
import subprocess
import sys

import pytest

from tests.test_benchmarks import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import sharing_test_memory

    return sharing_test_memory


def test_the_gradients_at_all_positions_are_those_of_the_largest_layer(benchmark):
    case = benchmark.Case((3, 8, 4), 5, 10)
    layers = [layer for layer in case.build() if hasattr(layer, "kernel_size") and hasattr(layer, "weight")]
    assert case.gradient_bytes == max(25 * 4 * layer.weight.numel() for layer in layers)


def test_the_report_compares_with_twice_a_training_step(benchmark):
    row = {"step": 10_000_000, "gradient": 5_000_000, "first part": 40_000_000, "candidates": 12_000_000}
    text = benchmark.write_report({"cases": {"small": row}})
    assert "| 10 | 5 | 25 | 40 | 12 | 4.0 |" in text


@pytest.mark.long
def test_a_run_measures_every_part(tmp_path):
    command = [sys.executable, "benchmarks/sharing_test_memory.py", "--only", "small batch"]
    subprocess.run([*command, "--out", str(tmp_path / "memory.json")], cwd=ROOT, check=True, timeout=600)
    (row,) = json.loads((tmp_path / "memory.json").read_text())["cases"].values()
    # the test stores the gradients of the largest layer for both halves
    assert row["first part"] > 2 * row["gradient"]
    assert row["candidates"] > row["step"] / 2 > 0
