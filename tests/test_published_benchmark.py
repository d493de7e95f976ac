"""The comparison with published counts finds what differs, and its committed results have no gaps."""

import json
from pathlib import Path

import pytest
from torch import nn

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"


@pytest.fixture
def published(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import published

    return published


class Conv2dSame(nn.Conv2d):
    def forward(self, x):
        return super().forward(nn.functional.pad(x, (1, 1, 1, 1)))


def make_model():
    return nn.Sequential(Conv2dSame(3, 4, 3), nn.BatchNorm2d(4))  # 112 and 8 parameters


def make_case(*numbers, **variant):
    from libraries import Case, Published

    return Case("model", make_model, lambda model: [Published("W", n, **variant) for n in numbers])


def count(published, monkeypatch, case):
    monkeypatch.setitem(published.LIBRARIES, "torch", lambda: iter([case]))
    return published.count_library("torch", "")


def test_equal_counts_agree(published, monkeypatch):
    found = count(published, monkeypatch, make_case(120))
    assert (found["models"], found["published"], found["agree"]) == (1, 1, 1)
    assert published.is_complete(found)


def test_reconcile_or_another_build_gives_the_reason(published, monkeypatch):
    found = count(published, monkeypatch, make_case(112))
    (row,) = found["published differ"]
    assert row["reason"] == "112 = 120 - 8 batch-norm parameters"
    case = make_case(112, build=lambda: make_model()[0], reason="the convolution alone")
    assert count(published, monkeypatch, case)["published differ"][0]["reason"] == "the convolution alone"


def test_a_reason_must_give_the_published_count(published, monkeypatch):
    found = count(published, monkeypatch, make_case(111, build=lambda: make_model()[0], reason="wrong"))
    assert found["published differ"][0]["reason"] == ""
    assert not published.is_complete(found)
    assert "| model, W | 111 | 120 | not known |" in published.format_results(
        {"torch": "2", "libraries": {"torch": found}}
    )


def test_a_model_that_fails_is_listed(published, monkeypatch):
    case = make_case()
    monkeypatch.setattr(published.ws, "summary", lambda model: 1 / 0)
    found = count(published, monkeypatch, case)
    assert found["not counted"] == [{"model": "model", "error": "ZeroDivisionError: division by zero"}]
    assert not published.is_complete(found)


def test_unshared_elements_from_outputs_include_the_padding(published):
    model = nn.Sequential(Conv2dSame(3, 4, 3), nn.Flatten(), nn.Linear(4 * 8 * 8, 5)).to("meta")
    expected = 64 * (4 * 27 + 4) + 256 * 5 + 5
    found = published.compare_unshared(model, (3, 8, 8))
    assert found == {"counted": expected, "expected": expected, "agrees": True}


def test_committed_results_are_complete(published):
    results = json.loads((RESULTS / "published.json").read_text())
    assert results["libraries"].keys() == published.LIBRARIES.keys()
    assert all(map(published.is_complete, results["libraries"].values()))
    assert (RESULTS / "published.md").read_text() == published.format_results(results)
    found = results["libraries"]["torchvision"]
    assert found["agree"] + len(found["published differ"]) == found["published"] == 166
    assert results["libraries"]["timm"]["padding"] == 78
