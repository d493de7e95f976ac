"""The benchmarks run, write the results that tools/speed_table.py reads, and evaluate them correctly."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import weightshare as ws

ROOT = Path(__file__).parents[1]


@pytest.fixture
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    out = tmp_path_factory.mktemp("results")
    command = [sys.executable, "benchmarks/layers.py", "--quick", "--only", "tiny", "--out", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=600)
    return out


@pytest.mark.long
def test_a_quick_run_writes_all_sides(results):
    written = json.loads((results / "layers.json").read_text())
    assert {"machine", "versions", "roofline", "calm", "summary", "overhead"} <= written.keys()
    assert written["roofline"]["gflops"] > 0
    assert written["roofline"]["gb_per_s"] > 0
    (row,) = written["local"]
    assert row["shape"]["name"] == "tiny"
    assert row["shape"]["scored"] is False
    for what in ("forward", "training"):
        assert {"weightshare", "unfold + einsum", "F.unfold + bmm", "broadcast", "shared conv"} <= row[what][
            "sides"
        ].keys()
        assert all(side["rounds"] == 3 for side in row[what]["sides"].values())
    assert row["compared"].keys() == {"forward", "training", "training, memory reused"}
    for compared in row["compared"].values():
        assert 0 < compared["share"] <= 1
        assert compared["ratio"] > 0
    assert {len(written[section]) for section in ("grouped", "transposed", "partial", "full")} == {1}


@pytest.mark.long
def test_the_results_are_written_to_the_page(results, tmp_path):
    page = tmp_path / "speed.md"
    page.write_text("before\n<!-- table -->\nold\n<!-- end -->\nafter\n")
    command = [sys.executable, "-m", "tools.speed_table", str(results / "layers.json"), str(page)]
    subprocess.run(command, cwd=ROOT, check=True)
    text = page.read_text()
    assert text.startswith("before\n<!-- table -->\n")
    assert text.endswith("\n<!-- end -->\nafter\n")
    assert "\nold\n" not in text
    assert "Where weightshare is slower" in text


def test_twelve_shapes_are_scored(benchmarks):
    from shapes import SECTIONS

    scored = [shape for shape in SECTIONS["local"] if shape.scored]
    assert len(scored) == 12
    assert sum(shape.batch == 1 for shape in scored) == 4


def test_the_floor_is_the_larger_of_compute_and_memory_time(benchmarks):
    from roofline import compute_floor_ms
    from shapes import Shape

    shape = Shape("", batch=2, channels=3, size=5, out=4, kernel=3)  # 9 positions, 27 taps, 972 weights
    assert shape.flops == 2 * 2 * 972
    assert compute_floor_ms(shape, "forward", {"gflops": 1e-6, "gb_per_s": 1e9}) == pytest.approx(3888)
    moved = 4 * (972 + 2 * 3 * 25 + 2 * 4 * 9)
    assert compute_floor_ms(shape, "forward", {"gflops": 1e9, "gb_per_s": 1e-6}) == pytest.approx(moved)
    assert compute_floor_ms(shape, "training", {"gflops": 1e-6, "gb_per_s": 1e9}) == pytest.approx(3 * 3888)


def test_disturbed_rounds_are_repeated(benchmarks):
    from measure import Budget, IdleCheck, Timer, measure_interleaved

    products = iter([1.0] * 5 + [1.0, 9.0, 1.0] + [1.0] * 9)
    timer = Timer("torch", 5.0, lambda calls: 5.0)
    measured = measure_interleaved(
        {"ours": timer}, Budget(4, 60.0, 2, 60.0), IdleCheck(lambda: next(products))
    )
    assert measured["dropped"] == 1
    assert measured["disturbed"] == 0
    assert measured["sides"]["ours"]["rounds"] == 4


def test_slow_sides_have_fewer_rounds(benchmarks):
    from measure import Budget, IdleCheck, Timer, measure_interleaved

    timers = {name: Timer("torch", ms, lambda calls: 1.0) for name, ms in (("fast", 5.0), ("slow", 400.0))}
    measured = measure_interleaved(timers, Budget(10, 2.0, 0, 0.0), IdleCheck(lambda: 1.0))
    assert {name: side["rounds"] for name, side in measured["sides"].items()} == {"fast": 10, "slow": 5}


def test_each_round_starts_with_another_side(benchmarks):
    from measure import Budget, IdleCheck, Timer, measure_interleaved

    order: list[str] = []
    timers = {name: Timer("torch", 5.0, lambda calls, name=name: order.append(name) or 1.0) for name in "abc"}
    measure_interleaved(timers, Budget(4, 60.0, 0, 0.0), IdleCheck(lambda: 1.0))
    assert "".join(order) == "abcbcacababc"


def test_false_claims_about_shifts_are_found(benchmarks):
    from brute_force import list_false_claims

    assert [*list_false_claims(2, {2, 4, 6}, 8)] == []
    assert [*list_false_claims(0, set(), 8)] == []
    assert [*list_false_claims(2, {2, 6}, 8)] == ["multiples of 2 are said to be exact, but 4 is not"]
    assert [*list_false_claims(0, {4}, 8)] == ["no shift is said to be exact, but 4 is"]
    assert [*list_false_claims(4, {2, 4, 6}, 8)] == [
        "multiples of 4 are said to be exact, but those of 2 are, too"
    ]


def test_traces_of_networks_are_checked(benchmarks):
    from brute_force import BruteForce
    from networks import NETWORKS
    from trace_networks import check, check_interventions, prepare

    network = NETWORKS["panorama network"]
    model, x = prepare(network)
    trace = ws.trace_equivariance(model, x, network.make_shift(4))
    brute = BruteForce(model, x, network.stride, network.tokens)
    exact = [brute.find_exact_shifts(axis) for axis in range(2)]
    checked = check(brute, trace, exact)
    assert checked["checked"] > 15
    assert checked["false"] == []
    effects = check_interventions(brute, trace)
    assert (effects["checked"], effects["false"]) == (1, [])

    wrong = replace(trace, exact_along=(4, 2), error=2 * trace.error, first_loss="head")
    false = check(brute, wrong, exact)["false"]
    assert false[0].startswith("error ")
    assert "output, axis 0: multiples of 4 are said to be exact, but 4 is not" in false
    assert "output, axis 1: multiples of 2 are said to be exact, but 2 is not" in false
    assert "layers.0 loses the shift before head" in false
