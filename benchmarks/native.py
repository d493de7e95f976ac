"""Compare the native backend with the portable one: python benchmarks/native.py [--only NAME] [--out FOLDER]

Both compute the same layers, with the same weights and in alternation. The table shows medians of a forward
pass, and of a training step (forward and backward), and the share of the roofline that each reaches.
"""

import argparse
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

import peaks
from measure import Budget, IdleCheck, Timer, describe_machine, measure_interleaved
from roofline import compute_floor_ms, merge_peaks
from shapes import SECTIONS, Shape
from weightshare import Local, nn
from weightshare.backends import native

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
SIDES = ("portable", "native")
DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16}


def build_layer(shape: Shape, dtype: torch.dtype) -> torch.nn.Module:
    return CONVOLUTIONS[shape.ndim](
        shape.channels,
        shape.out,
        shape.kernel,
        shape.stride,
        shape.padding,
        groups=shape.groups,
        bias=False,
        sharing=Local(),
        input_size=shape.in_size,
        dtype=dtype,
    )


def make_call(layer: torch.nn.Module, x: torch.Tensor, grad: torch.Tensor, what: str) -> Callable[[], object]:
    if what == "forward":

        def call():
            with torch.no_grad():
                return layer(x)

    else:

        def call():
            layer.weight.grad = x.grad = None
            layer(x).backward(grad)

    return call


def make_timer(call: Callable[[], object], side: str, instruction_set: str) -> Timer:
    def measure(calls: int) -> float:
        with native.force(instruction_set if side == "native" else "off"):
            native.load()
            begin = peaks.clock()
            for _ in range(calls):
                call()
            return 1e3 * (peaks.clock() - begin) / calls

    measure(1)
    return Timer("torch", measure(1), measure)


def measure_row(shape: Shape, dtype: torch.dtype, instruction_set: str, budget: Budget, is_idle: IdleCheck):
    layer = build_layer(shape, dtype)
    x = torch.randn(shape.batch, shape.channels, *shape.in_size, dtype=dtype, requires_grad=True)
    grad = torch.randn(shape.batch, shape.out, *shape.out_size, dtype=dtype)
    row: dict = {"shape": shape.as_dict()}
    for what in ("forward", "training"):
        call = make_call(layer, x, grad, what)
        timers = {side: make_timer(call, side, instruction_set) for side in SIDES}
        row[what] = measure_interleaved(timers, budget, is_idle)
    return row


def add_shares(rows: list[dict], peaks: dict[str, float]) -> None:
    for row in rows:
        shape = Shape(**row["shape"])
        for what in ("forward", "training"):
            floor = compute_floor_ms(shape, what, peaks)
            row[what]["floor_ms"] = floor
            row[what]["share"] = {s: floor / v["median_ms"] for s, v in row[what]["sides"].items()}


def format_table(results: dict) -> str:
    head = ["layer"]
    for what in ("forward", "training"):
        head += [f"{what}: floor (ms)", *(f"{side} (ms)" for side in SIDES), *(f"share, {s}" for s in SIDES)]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in results["rows"]:
        cells = [str(Shape(**row["shape"]))]
        for what in ("forward", "training"):
            part = row[what]
            cells.append(f"{part['floor_ms']:.2f}")
            cells += [f"{part['sides'][side]['median_ms']:.2f}" for side in SIDES]
            cells += [f"{part['share'][side]:.2f}" for side in SIDES]
        lines.append(f"| {' | '.join(cells)} |")
    scored = [row for row in results["rows"] if row["shape"]["scored"]]
    means = [
        f"{what}, {side}: {statistics.geometric_mean(row[what]['share'][side] for row in scored):.2f}"
        for what in ("forward", "training")
        for side in SIDES
        if scored
    ]
    peaks = ", ".join(f"{name} {value:.0f}" for name, value in results["peaks"].items())
    machine = ", ".join(f"{name} {value}" for name, value in results["machine"].items())
    disturbed = sum(row[what]["disturbed"] for row in results["rows"] for what in ("forward", "training"))
    how = f"Threads: {results['threads']}; {results['time']} time."
    how += " Large pages (THP_MEM_ALLOC_ENABLE=1)." if results["large_pages"] else ""
    notes = f"{how} Instruction set: {results['instruction_set']}. Peaks: {peaks}. Machine: {machine}."
    scores = f"Geometric means of the shares of the scored shapes: {'; '.join(means)}." if means else ""
    return "\n".join([*lines, "", scores, notes, f"Rounds that other processes disturbed: {disturbed}."])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", metavar="NAME", help="Measure only shapes whose name contains NAME.")
    parser.add_argument("--quick", action="store_true", help="Measure few rounds.")
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="Dtype of weights and images.")
    parser.add_argument("--out", type=Path, help="Folder for the results.")
    parser.add_argument(
        "--processor-time",
        action="store_true",
        help="Measure processor time with one thread, which other processes disturb less.",
    )
    arguments = parser.parse_args()
    if arguments.processor_time:
        torch.set_num_threads(1)
        peaks.clock = time.process_time
    if native.load() is None:
        raise SystemExit(f"The native backend is not available: {native.get_status().reason}.")
    instruction_set = native.get_status().instruction_set
    budget = Budget(7, 0.3, 0, 0.0) if arguments.quick else Budget(41, 0.5, 10, 3.0)
    is_idle, best, rows = IdleCheck(peaks.time_short_product), peaks.measure_peaks(), []
    for section in ("local", "grouped"):
        for shape in SECTIONS[section]:
            if arguments.only is None or arguments.only.lower() in shape.name.lower():
                print(shape, file=sys.stderr, flush=True)
                rows.append(measure_row(shape, DTYPES[arguments.dtype], instruction_set, budget, is_idle))
                best = merge_peaks(best, peaks.measure_peaks())
    add_shares(rows, best)
    assert all(math.isfinite(row[what]["floor_ms"]) for row in rows for what in ("forward", "training"))
    results = {
        "machine": describe_machine(),
        "peaks": best,
        "instruction_set": instruction_set,
        "threads": torch.get_num_threads(),
        "large_pages": os.environ.get("THP_MEM_ALLOC_ENABLE") == "1",
        "time": "processor" if arguments.processor_time else "wall clock",
        "rows": rows,
    }
    if arguments.out is not None:
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "native.json").write_text(json.dumps(results, indent=1) + "\n")
        (arguments.out / "native.md").write_text(format_table(results) + "\n")
    print(format_table(results))


if __name__ == "__main__":
    main()
