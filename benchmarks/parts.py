"""Where the time of a layer that shares nothing goes: python benchmarks/parts.py [--out FOLDER]

By torch's profiler, in milliseconds a call, on the scored shapes: matrix products, additions of patches into
the gradient of the input, re-laying and copying, and the rest (calls, zeros, the profiler itself).
"""

import argparse
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from torch.profiler import ProfilerActivity, profile

from measure import machine
from shapes import SECTIONS, Shape
from weightshare import Local, nn

KINDS = {
    "aten::bmm": "products",
    "aten::baddbmm": "products",
    "aten::addcmul_": "products",
    "aten::mul": "products",
    "aten::add_": "additions",
    "aten::copy_": "copies",
    "aten::channel_shuffle": "copies",
    "aten::native_channel_shuffle": "copies",
}
PARTS = ("products", "additions", "copies", "rest")


def parts(call: Callable[[], object], times: int = 12) -> dict[str, float]:
    """Milliseconds of each part, the mean of some calls."""
    for _ in range(3):
        call()
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for _ in range(times):
            call()
    found: Counter[str] = Counter()
    for event in profiler.key_averages():
        found[KINDS.get(event.key, "rest")] += event.self_cpu_time_total
    return {name: found[name] / times / 1e3 for name in PARTS}


def row(shape: Shape) -> dict:
    """The three maps of one layer."""
    layer = nn.Conv2d(
        shape.channels,
        shape.out,
        shape.kernel,
        shape.stride,
        shape.padding,
        bias=False,
        sharing=Local(),
        input_size=shape.size,
    )
    weight, backend = layer.weight.detach(), layer._backend
    padded = torch.randn(shape.batch, shape.channels, *(n + 2 * shape.padding for n in shape.in_size))
    grad = torch.randn_like(backend.output(padded, weight))
    return {
        "name": shape.name,
        "forward": parts(lambda: backend.output(padded, weight)),
        "gradient of input": parts(lambda: backend.input_grad(grad, weight, padded.shape)),
        "gradient of weight": parts(lambda: backend.weight_grad(padded, grad, weight.shape)),
    }


def table(results: dict) -> str:
    """The results as Markdown."""
    lines = ["| layer | | products | additions | copies | rest |", "|---|---|---|---|---|---|"]
    for found in results["rows"]:
        for what in ("forward", "gradient of input", "gradient of weight"):
            numbers = " | ".join(f"{found[what][part]:.2f}" for part in PARTS)
            lines.append(f"| {found['name'] if what == 'forward' else ''} | {what} | {numbers} |")
    text = ", ".join(f"{key} {value}" for key, value in results["machine"].items())
    return "\n".join([*lines, "", f"Milliseconds a call. Machine: {text}. Command: `make bench-parts`."])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    console, rows = Console(stderr=True), []
    for shape in SECTIONS["local"]:
        if shape.scored:
            console.print(shape.name)
            rows.append(row(shape))
    results = {"machine": machine(), "rows": rows}
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "parts.json").write_text(json.dumps(results, indent=1) + "\n")
    (arguments.out / "parts.md").write_text(table(results) + "\n")
    print(table(results))


if __name__ == "__main__":
    main()
