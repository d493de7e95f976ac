"""Profile the parts of an unshared layer: python benchmarks/parts.py [--out FOLDER]

The profiler of torch measures the milliseconds per call for the scored shapes: matrix products, additions of
patches to the gradient of the input, copies (also to rearrange tensors), and all other operations (calls,
zeros, the profiler itself).
"""

import argparse
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from torch.profiler import ProfilerActivity, profile

from measure import describe_machine
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
PARTS = ("products", "additions", "copies", "other")


def profile_parts(call: Callable[[], object], times: int = 12) -> dict[str, float]:
    """Return the milliseconds of each part, as the mean of several calls."""
    for _ in range(3):
        call()
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for _ in range(times):
            call()
    totals: Counter[str] = Counter()
    for event in profiler.key_averages():
        totals[KINDS.get(event.key, "other")] += event.self_cpu_time_total
    return {name: totals[name] / times / 1e3 for name in PARTS}


def measure_row(shape: Shape) -> dict:
    """Return the parts of the three maps of one layer."""
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
        "forward": profile_parts(lambda: backend.output(padded, weight)),
        "gradient of input": profile_parts(lambda: backend.input_grad(grad, weight, padded.shape)),
        "gradient of weight": profile_parts(lambda: backend.weight_grad(padded, grad, weight.shape)),
    }


def format_table(results: dict) -> str:
    """Return the results as a Markdown table."""
    head = ["layer", "map", *(f"{part} (ms)" for part in PARTS)]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in results["rows"]:
        for what in ("forward", "gradient of input", "gradient of weight"):
            numbers = " | ".join(f"{row[what][part]:.2f}" for part in PARTS)
            lines.append(f"| {row['name'] if what == 'forward' else ''} | {what} | {numbers} |")
    text = ", ".join(f"{key} {value}" for key, value in results["machine"].items())
    return "\n".join([*lines, "", f"Milliseconds per call. Machine: {text}. Command: `make bench-parts`."])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--out", type=Path, default=Path("benchmarks/results"), help="Folder for the results."
    )
    arguments = parser.parse_args()
    console, rows = Console(stderr=True), []
    for shape in SECTIONS["local"]:
        if shape.scored:
            console.print(shape.name)
            rows.append(measure_row(shape))
    results = {"machine": describe_machine(), "rows": rows}
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "parts.json").write_text(json.dumps(results, indent=1) + "\n")
    (arguments.out / "parts.md").write_text(format_table(results) + "\n")
    print(format_table(results))


if __name__ == "__main__":
    main()
