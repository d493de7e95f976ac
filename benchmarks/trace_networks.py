"""Trace networks from practice and check every statement by brute force: python benchmarks/trace_networks.py

Each network is traced for a shift by one pixel and for one by its stride. The error, the exact shifts, the
first loss and the rows of its modules are compared with what `brute_force.py` finds, and the effects of
padding and position embeddings with those of models that were changed by hand. The cost of a trace is
reported relative to a forward pass in the precision of the model.
"""

import argparse
import json
import time
from math import prod
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

import weightshare as ws
from brute_force import BruteForce, agrees, list_false_claims
from measure import describe_machine
from networks import NETWORKS, Network


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


def check(network: Network, brute: BruteForce, trace: Any, exact: list[dict[str, set[int]]]) -> dict[str, Any]:
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


def count_cost(network: Network, model: nn.Module, x: Tensor) -> tuple[Any, dict[str, float]]:
    """Trace a shift by one pixel; return the trace, and its cost relative to a forward pass."""
    n_calls = 0

    def count(*_: object) -> None:
        nonlocal n_calls
        n_calls += 1

    seconds: list[float] = []
    with torch.no_grad():
        for _ in range(5):
            begin = time.perf_counter()
            model(x)
            seconds.append(time.perf_counter() - begin)
    hook = model.register_forward_pre_hook(count)
    begin = time.perf_counter()
    trace = ws.trace_equivariance(model, x, network.make_shift(1))
    whole = time.perf_counter() - begin
    hook.remove()
    return trace, {
        "passes": n_calls,
        "seconds": whole,
        "forward_seconds": median(seconds),
        "operations": len(trace.rows),
        "output_megabytes": 8e-6 * sum(prod(row.shape) for row in trace.rows),
    }


def trace_network(name: str) -> dict[str, Any]:
    """Trace a network, and check the traces."""
    network = NETWORKS[name]
    model, x = prepare(network)
    trace, cost = count_cost(network, model, x)
    brute = BruteForce(model, x, network.stride, network.tokens)
    exact = [
        brute.find_exact_shifts(axis) if use else {} for axis, use in enumerate(network.make_shift(1))
    ]
    checks = check(network, brute, trace, exact)
    if network.stride > 1:
        more = check(network, brute, ws.trace_equivariance(model, x, network.make_shift(network.stride)), exact)
        checks = {key: checks[key] + more[key] for key in checks}
    causes = sorted({cause for row in trace.rows for cause in row.causes})
    return {
        "verdict": trace.verdict,
        "exact_along": trace.exact_along,
        "first_loss": trace.first_loss,
        "error": trace.error,
        "followed": trace.followed,
        "untraced": trace.untraced,
        "causes": causes,
        **cost,
        **checks,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="Names of networks; all by default.")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    path = arguments.out / "trace_networks.json"
    for name in arguments.names or NETWORKS:
        found = trace_network(name)
        print(name, json.dumps(found, indent=1), flush=True)


if __name__ == "__main__":
    main()
