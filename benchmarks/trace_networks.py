"""Trace common architectures and check every statement by brute force: python benchmarks/trace_networks.py

Each network is traced for a shift by one pixel and for one by its stride. The error, the exact shifts, the
first loss and the rows of its modules are compared with what `brute_force.py` finds, and the effects of
padding and position embeddings with those of models that were changed by hand. The cost of a trace is
reported relative to a forward pass in the precision of the model.
"""

import argparse
import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import weightshare as ws
from brute_force import BruteForce, agrees, list_false_claims
from measure import describe_machine
from memory import ENVIRONMENT, RESET, read_status
from networks import NETWORKS, Network
from weightshare.symmetry.trace.record import run_forward
from without_causes import REMOVE

#: What a result contains of a trace.
FIELDS = ("shift", "verdict", "exact_along", "first_loss", "error", "fractional", "followed", "untraced")


def prepare(network: Network) -> tuple[nn.Module, Tensor]:
    """Build a network whose batch normalization has the statistics of random inputs, and an input."""
    torch.manual_seed(0)
    model = network.build()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = None  # the mean over all batches
    with torch.no_grad():
        model.train()(torch.randn(4, *network.shape[1:]))
    return model.eval(), torch.randn(network.shape)


def check(brute: BruteForce, trace: Any, exact: list[dict[str, set[int]]]) -> dict[str, Any]:
    """Compare a trace with brute force; return the number of checked statements, and those that are false."""
    false: list[str] = []
    n_checked = 0

    def expect(holds: bool, statement: str) -> None:
        nonlocal n_checked
        n_checked += 1
        if not holds:
            false.append(statement)

    truth = brute.measure(trace.shift)
    result = truth[""]
    error = None if result is None else result[0]
    expect(agrees(trace.error, error), f"error {trace.error}, but {error}")
    is_exact = result is not None and result[1]
    expect((trace.first_loss is None) == is_exact, f"first loss {trace.first_loss}, exact: {is_exact}")
    expect(("preserved end to end" in trace.verdict) == is_exact, trace.verdict)
    names = {row.name: row for row in trace.rows}
    claims = [("", trace.exact_along)] + [(name, row.exact_along) for name, row in names.items()]
    for name, along in claims:
        for axis, found in enumerate(exact):
            if along is not None and name in found and along[axis] is not None:
                wrong = [*list_false_claims(along[axis], found[name], brute.size[axis])]
                expect(not wrong, f"{name or 'output'}, axis {axis}: {'; '.join(wrong)}")
    before = True
    for name, row in names.items():
        before = before and name != trace.first_loss
        if name not in truth:
            continue
        measured = truth[name]
        expect(
            agrees(row.accumulated, None if measured is None else measured[0]),
            f"{name}: error so far {row.accumulated}, but {measured}",
        )
        if before and measured is not None and trace.first_loss is not None:
            expect(measured[1], f"{name} loses the shift before {trace.first_loss}")
        if name == trace.first_loss:
            expect(measured is None or not measured[1], f"{name} is exact, but called the first loss")
    return {"checked": n_checked, "false": false}


def check_interventions(brute: BruteForce, trace: Any) -> dict[str, Any]:
    """Compare the error without each cause with that of a model from which it was removed by hand.

    Blur pooling is compared if nothing else can be removed.
    """
    interventions = trace.interventions()
    false: list[str] = []
    effects = {effect.cause: effect for effect in interventions.effects}
    compared = [cause for cause in effects if cause != "down-sampling" or len(effects) == 1]
    for cause in compared:
        with REMOVE[cause](brute.model) as model:
            by_hand = brute.measure_output(model, trace.shift)
        without = effects[cause].without
        if not agrees(without, by_hand):
            false.append(f"error without {cause}: {without}, but {by_hand}")
        if len(effects) == 1 and not agrees(effects[cause].alone, trace.error):
            false.append(f"error of {cause} alone: {effects[cause].alone}, but {trace.error}")
    return {
        "effects": {cause: [effect.alone, effect.without] for cause, effect in effects.items()},
        "unchanged": sorted({cause for _, cause in interventions.unchanged}),
        "checked": len(compared),
        "false": false,
    }


def measure_cost(network: Network, model: nn.Module, x: Tensor) -> tuple[Any, dict[str, float]]:
    """Trace a shift by one pixel; return the trace, its forward passes, and the seconds of both."""
    n_calls = 0

    def count(*_: object) -> None:
        nonlocal n_calls
        n_calls += 1

    shift = network.make_shift(1)
    hook = model.register_forward_pre_hook(count)
    trace = ws.trace_equivariance(model, x, shift)
    hook.remove()
    with torch.no_grad():
        forward = min(measure_seconds(lambda: model(x)) for _ in range(10))
    whole = min(measure_seconds(lambda: ws.trace_equivariance(model, x, shift)) for _ in range(3))
    return trace, {"passes": n_calls, "seconds": whole, "forward_seconds": forward}


def measure_seconds(call: Callable[[], object]) -> float:
    """Return the seconds of one call."""
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def measure_memory(name: str) -> list[float]:
    """Return the peak megabytes of a forward pass in float64 and of a trace.

    It must run in a process with `memory.ENVIRONMENT`.
    """
    model, x = prepare(NETWORKS[name])
    small = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.ReLU()).eval()
    ws.trace_equivariance(small, torch.randn(1, 1, 8, 8))  # loads code
    shift = NETWORKS[name].make_shift(1)
    with torch.no_grad():
        model(x)
        return [
            measure_peak(call)
            for call in (
                lambda: run_forward(model, x, precise=True),
                lambda: ws.trace_equivariance(model, x, shift),
            )
        ]


def measure_peak(call: Callable[[], object]) -> float:
    """Return the peak megabytes beyond those in use before the call."""
    gc.collect()
    RESET.write_text("5")
    base = read_status("VmRSS")
    call()
    return 1e-6 * (read_status("VmHWM") - base)


def trace_network(name: str) -> dict[str, Any]:
    """Trace a network, check the traces, and measure the cost."""
    network = NETWORKS[name]
    model, x = prepare(network)
    trace, cost = measure_cost(network, model, x)
    traces = [trace]
    if network.stride > 1:
        traces.append(ws.trace_equivariance(model, x, network.make_shift(network.stride)))
    brute = BruteForce(model, x, network.stride, network.tokens)
    uses = network.make_shift(1)
    exact = [brute.find_exact_shifts(axis) if use else {} for axis, use in enumerate(uses)]
    checks = [check(brute, each, exact) for each in traces]
    effects = [check_interventions(brute, each) for each in traces if each.error is not None]
    memory = subprocess.run(
        [sys.executable, __file__, "--memory", name],
        env={**os.environ, **ENVIRONMENT},
        check=True,
        capture_output=True,
        text=True,
    )
    return {
        "shape": network.shape,
        "traces": [
            {
                **{key: getattr(each, key) for key in FIELDS},
                "cause": next((row.cause for row in each.rows if row.name == each.first_loss), ""),
            }
            for each in traces
        ],
        "causes": sorted({cause for row in trace.rows for cause in row.causes}),
        "operations": len(trace.rows),
        "unfollowed": sum(not row.followed for row in trace.rows),
        "effects": [each["effects"] for each in effects],
        "unchanged": [each["unchanged"] for each in effects],
        "checked": sum(each["checked"] for each in checks + effects),
        "false": [statement for each in checks + effects for statement in each["false"]],
        **cost,
        "output_megabytes": 8e-6 * sum(prod(row.shape) for row in trace.rows),
        "forward_megabytes": float(memory.stdout.splitlines()[-2]),
        "peak_megabytes": float(memory.stdout.splitlines()[-1]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="Names of networks; all by default.")
    parser.add_argument(
        "--memory", action="store_true", help="Print the peaks of a forward pass and a trace."
    )
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/trace_networks.json"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.memory:
        print(*measure_memory(*arguments.names), sep="\n")
        return
    results = {"machine": describe_machine(), "networks": {}}
    for name in arguments.names or NETWORKS:
        found = results["networks"][name] = trace_network(name)
        ratio = found["seconds"] / found["forward_seconds"]
        print(
            f"{name}: {found['checked']} statements, {len(found['false'])} false; {ratio:.0f} x", flush=True
        )
        for statement in found["false"]:
            print(f"  {statement}")
    arguments.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
