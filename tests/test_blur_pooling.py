"""The benchmark of blur pooling runs, its summary is correct, and the docs contain its results."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tools import consistency_table

ROOT = Path(__file__).parents[1]


@pytest.fixture
def blur_pooling(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import blur_pooling

    return blur_pooling


def test_both_networks_have_the_same_weights_and_sizes(blur_pooling):
    outputs = []
    for pool in blur_pooling.POOLS:
        torch.manual_seed(0)
        model = blur_pooling.build_network(3, 28, 10, pool)
        outputs.append((model.state_dict(), model[:-3](torch.zeros(1, 3, 28, 28)).shape))
    (one, shape), (other, same) = outputs
    assert shape == same == (1, 64, 7, 7)
    assert all(torch.equal(a, b) for a, b in zip(one.values(), other.values()))
    assert len(one) == len(other)


def test_differences_are_paired_by_seed(blur_pooling):
    accuracy = {("max", 0): 0.5, ("max", 1): 0.7, ("blur", 0): 0.6, ("blur", 1): 0.8}
    trials = [
        {"pool": pool, "seed": seed, "protocols": {"p": dict.fromkeys(blur_pooling.MEASURES, value)}}
        for (pool, seed), value in accuracy.items()
    ]
    result = blur_pooling.summarize(trials)["p"]["accuracy"]
    assert result["max"]["mean"] == pytest.approx(0.6)
    assert result["difference"]["mean"] == pytest.approx(0.1)
    assert result["difference"]["ci"] is None  # both seeds have the same difference
    assert result["max"]["ci"] == pytest.approx([0.6 - 1.2706, 0.6 + 1.2706], abs=1e-4)


def test_the_docs_contain_the_results(blur_pooling):
    results = json.loads((ROOT / "benchmarks/results/blur_pooling.json").read_text())
    assert results["summary"] == blur_pooling.summarize(results["trials"])
    assert blur_pooling.format_table(results) in (ROOT / "docs/consistency.md").read_text()


@pytest.mark.long
def test_digits(tmp_path):
    out, page = tmp_path / "results.json", tmp_path / "page.md"
    command = [sys.executable, "benchmarks/blur_pooling.py", "digits", "--seeds", "2", "--epochs", "2"]
    subprocess.run([*command, "--out", str(out)], cwd=ROOT, check=True, capture_output=True, timeout=600)
    results = json.loads(out.read_text())
    assert {t["pool"] for t in results["trials"]} == {"max", "blur"}
    assert set(results["summary"]) == {"circular_roll", "random_crops", "small_rolls"}
    page.write_text("before\n<!-- table -->\nold\n<!-- end -->\nafter\n")
    consistency_table.main(str(out), str(page))
    text = page.read_text()
    assert text.startswith("before\n<!-- table -->\n| protocol |")
    assert text.endswith("\n<!-- end -->\nafter\n")
    assert "\nold\n" not in text
