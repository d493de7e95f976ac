"""Show where the native code spends its time: python benchmarks/phases.py [--only NAME] [--out FOLDER]

Each map of an unshared layer runs in one or two phases: it rearranges the images to [*size, C, N], if that
is necessary, and computes, which includes rearranging blocks of the results. The table shows the median time
of both phases in milliseconds, and the share of the roofline that the second phase alone reaches. The memory
of the results is reused.
"""

import argparse
import ctypes
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

import peaks
from measure import describe_machine
from native import build_layer
from roofline import compute_floor_ms
from shapes import SECTIONS, Shape
from weightshare import reuse_gradient_memory
from weightshare.backends import native
from weightshare.backends.native import maps

MAPS = ("output", "input gradient", "weight gradient")
ROUNDS, SECONDS = 15, 2.0
_RUN = ctypes.CFUNCTYPE(ctypes.c_int32, *(ctypes.c_int64,) * 3, *(ctypes.c_void_p,) * 2)


class Stopwatch:
    """The function that runs tasks in torch's threads. It also records how long each phase takes."""

    def __init__(self, run_tasks: ctypes.c_void_p):
        self.times: list[float] = []
        self._run = ctypes.cast(run_tasks, _RUN)
        self._callback = _RUN(self._measure)
        self.address = ctypes.cast(self._callback, ctypes.c_void_p)

    def _measure(self, *arguments: int) -> int:
        begin = time.perf_counter()
        error = self._run(*arguments)
        self.times.append(1e3 * (time.perf_counter() - begin))
        return error

    def measure(self, call: Callable[[], object]) -> list[float]:
        """Return the median time of each phase in milliseconds."""
        rounds: list[list[float]] = []
        end = time.perf_counter() + SECONDS
        while len(rounds) < 3 or (len(rounds) < ROUNDS and time.perf_counter() < end):
            self.times = []
            call()
            rounds.append(self.times)
        return [statistics.median(times) for times in zip(*rounds[1:])]


def measure_row(shape: Shape, stopwatch: Stopwatch, peak: dict[str, float]) -> dict:
    """Return the times of the phases of each map of an unshared layer, and the share of the roofline."""
    layer = build_layer(shape, torch.float32)
    reuse_gradient_memory(layer)
    x = torch.randn(shape.batch, shape.channels, *shape.in_size)
    grad = torch.randn(shape.batch, shape.out, *shape.out_size)

    def measure_gradient(of: torch.Tensor) -> list[float]:
        for tensor in (x, layer.weight):
            tensor.requires_grad_(tensor is of)
        out = layer(x)
        return stopwatch.measure(lambda: torch.autograd.grad(out, of, grad, retain_graph=True))

    floor = compute_floor_ms(shape, "forward", peak)
    row: dict = {"shape": shape.as_dict(), "floor_ms": floor, "maps": {}}
    measured = (
        stopwatch.measure(torch.no_grad()(lambda: layer(x))),
        measure_gradient(x),
        measure_gradient(layer.weight),
    )
    for name, (*rearranging, computing) in zip(MAPS, measured):
        share = floor / computing
        row["maps"][name] = {"rearrange_ms": sum(rearranging), "compute_ms": computing, "share": share}
    return row


def format_table(rows: list[dict]) -> str:
    """Return the rows as Markdown."""
    head = ["layer", "floor (ms)", *(f"{name}: rearrange + compute (ms), share of compute" for name in MAPS)]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for row in rows:
        cells = [str(Shape(**row["shape"])), f"{row['floor_ms']:.2f}"]
        cells += [
            f"{m['rearrange_ms']:.2f} + {m['compute_ms']:.2f}, {m['share']:.2f}" for m in row["maps"].values()
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="Measure only shapes whose name contains this text.", default="")
    parser.add_argument(
        "--out", type=Path, default=Path("benchmarks/results"), help="Folder for the results."
    )
    arguments = parser.parse_args()
    library = native.load()
    if library is None:
        raise SystemExit("the native backend is not available; `weightshare backends` shows why")
    stopwatch = Stopwatch(library.parallel_for)
    timed = replace(library, parallel_for=stopwatch.address)
    maps.load = lambda: timed  # type: ignore[assignment]
    peak = peaks.measure_peaks()
    shapes = [
        shape
        for shape in (*SECTIONS["local"], *SECTIONS["grouped"])
        if arguments.only.lower() in str(shape).lower() and not shape.name.startswith("tiny")
    ]
    rows = [measure_row(shape, stopwatch, peak) for shape in shapes]
    results = {
        "machine": describe_machine(),
        "roofline": peak,
        "instruction_set": library.status.instruction_set,
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "phases.json").write_text(json.dumps({**results, "rows": rows}, indent=1) + "\n")
    best = f"{peak['gflops']:.0f} GFLOP/s, {peak['gb_per_s']:.1f} GB/s; {library.status.instruction_set}"
    text = f"{format_table(rows)}\nBest of the run: {best}.\n"
    (arguments.out / "phases.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
