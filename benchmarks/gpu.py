"""Check and time the layers on a CUDA GPU: PYTHONPATH=src python benchmarks/gpu.py [--out FOLDER]

First, layers of every sharing are compared with float64 oracles on the CPU (gpu_checks.py). Then the layers
of shapes.py and common alternatives are timed in alternation, forward and training (forward and backward),
with CUDA events, and their peak memory is measured. TensorFloat-32 is off for all sides. The run takes less
than four minutes; layers that do not fit into this time are listed. It needs only the package's dependencies.

The exit code is 1 if a check fails, and 2 if there is no GPU. `--device cpu --quick` runs the same code on
the CPU for the smallest layers.
"""

import argparse
import gc
import json
import math
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

import alternatives
import weightshare as ws
from gpu_checks import PARTIAL, build_layer, check_random_layers, check_shapes, to_fold_weight
from shapes import SECTIONS, Shape

#: Seconds for the checks of random layers, the checks of shapes, and the times per dtype.
BUDGETS = {"random layers": 40.0, "shapes": 35.0, "float32": 80.0, "bfloat16": 35.0}
#: Number of timings per side: the minimum, the maximum, and the minimum of `--quick`.
LEAST, MOST, LEAST_QUICK = 5, 31, 2
#: Minimum duration of a timing in milliseconds; shorter calls are repeated, up to this number of calls.
TIMING, MOST_CALLS = 1.0, 50
ALTERNATIVES = {
    "unfold + einsum": alternatives.unfold_einsum,
    "F.unfold + bmm": alternatives.unfold_bmm,
    "broadcast": alternatives.broadcast,
}
SHARED = "shared conv"


def log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@dataclass
class Side:
    """A function of the input, and its parameters."""

    function: Callable[[Tensor], Tensor]
    parameters: list[Tensor]


class Device:
    """The clock and the memory of a GPU, or of the CPU, whose memory is not measured."""

    def __init__(self, name: str):
        self.device = torch.device(name)
        self.is_gpu = self.device.type == "cuda"

    def time(self, call: Callable[[], object], calls: int) -> float:
        """Return the mean milliseconds per call."""
        if not self.is_gpu:
            begin = time.perf_counter()
            for _ in range(calls):
                call()
            return 1e3 * (time.perf_counter() - begin) / calls
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        begin.record()
        for _ in range(calls):
            call()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / calls

    def measure_memory(self, call: Callable[[], object]) -> float | None:
        """Return the peak of the memory that a call adds, in MB."""
        if not self.is_gpu:
            call()
            return None
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        torch.cuda.synchronize()
        return (torch.cuda.max_memory_allocated() - before) / 1e6

    def free_bytes(self) -> float:
        return torch.cuda.mem_get_info()[0] if self.is_gpu else 2**30

    def clear(self) -> None:
        gc.collect()
        if self.is_gpu:
            torch.cuda.empty_cache()

    def describe(self) -> dict[str, object]:
        about: dict[str, object] = {"device": platform.processor() or platform.machine()}
        if self.is_gpu:
            properties = torch.cuda.get_device_properties(self.device)
            about = {
                "device": properties.name,
                "memory_gb": round(properties.total_memory / 1e9, 1),
                "compute_capability": f"{properties.major}.{properties.minor}",
                "cuda": torch.version.cuda,
                "cudnn": torch.backends.cudnn.version(),
            }
        return {
            **about,
            "torch": torch.__version__,
            "python": platform.python_version(),
            "weightshare": ws.__version__,
        }


def build_sides(section: str, shape: Shape, device: Device, dtype: torch.dtype) -> dict[str, Side | str]:
    """Return the sides of a shape, or the reason why one is skipped."""
    form = {"device": device.device, "dtype": dtype}
    make = getattr(torch.nn, f"Conv{'Transpose' if section == 'transposed' else ''}{shape.ndim}d")
    numbers = (shape.channels, shape.out, shape.kernel, shape.stride, shape.padding)
    shared = make(*numbers, groups=shape.groups, bias=False, **form)
    sides: dict[str, Side | str] = {}
    for sharing in _list_sharings(section):
        layer = build_layer(section, shape, sharing, device.device, dtype)
        name = str(sharing) if section == "partial" else "weightshare"
        sides[name] = Side(layer, list(layer.parameters()))
    if section == "transposed":
        weight = to_fold_weight(layer.weight.detach()).contiguous().requires_grad_()
        sides["einsum + F.fold"] = Side(lambda x: alternatives.fold(x, weight, shape), [weight])
    if section in ("local", "grouped"):
        for name, function in ALTERNATIVES.items():
            weight = layer.weight
            sides[name] = Side(lambda x, f=function, w=weight: f(x, w, shape), [weight])
        size = alternatives.count_broadcast_bytes(shape) * dtype.itemsize / 4
        if 4 * size > device.free_bytes():  # with its gradient, and what autograd stores
            sides["broadcast"] = f"a temporary of {size / 2**30:.0f} GiB"
    return {**sides, SHARED: Side(shared, list(shared.parameters()))}


def _list_sharings(section: str) -> tuple[ws.Sharing, ...]:
    if section == "partial":
        return PARTIAL
    return (ws.Full() if section == "full" else ws.Local(),)


def make_call(side: Side, x: Tensor, what: str, grad: Tensor) -> Callable[[], object]:
    if what == "forward":

        def call():
            with torch.no_grad():
                return side.function(x)

    else:
        leaves = [x, *side.parameters]

        def call():
            return torch.autograd.grad(side.function(x), leaves, grad)

    return call


def measure_shape(section: str, shape: Shape, device: Device, dtype: torch.dtype, run: "Run") -> dict:
    """Return the times and the memory of all sides of a shape."""
    row: dict = {"section": section, "shape": shape.as_dict(), "text": str(shape), "dtype": _name(dtype)}
    sides = build_sides(section, shape, device, dtype)
    x = torch.randn(shape.batch, shape.channels, *shape.in_size, device=device.device, dtype=dtype)
    x.requires_grad_()
    row["skipped"] = {name: side for name, side in sides.items() if isinstance(side, str)}
    for what in ("forward", "training"):
        calls, memory, counts = {}, {}, {}
        for name, side in sides.items():
            if isinstance(side, str) or name in row["skipped"]:
                continue
            try:
                with torch.no_grad():
                    grad = torch.ones_like(side.function(x))
                call = make_call(side, x, what, grad)
                call()  # the first call may load and select code
                memory[name] = device.measure_memory(call)
                milliseconds = device.time(call, 1)
            except RuntimeError as error:  # also if there is not enough memory
                row["skipped"][name] = f"{type(error).__name__}: {str(error).splitlines()[0]}"
                device.clear()
                continue
            calls[name] = call
            counts[name] = max(1, min(MOST_CALLS, math.ceil(TIMING / max(1e-3, milliseconds))))
        row[what] = _time_sides(calls, counts, memory, device, run)
    return row


def _time_sides(calls: dict, counts: dict, memory: dict, device: Device, run: "Run") -> dict:
    """Time all sides in alternation."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    begin = time.monotonic()
    for number in range(MOST):
        if number >= run.least and time.monotonic() - begin > run.seconds_per_row:
            break
        for name, call in calls.items():
            times[name].append(device.time(call, counts[name]))
    return {
        name: {
            "median_ms": statistics.median(values),
            "smallest_ms": min(values),
            "largest_ms": max(values),
            "rounds": len(values),
            "peak_mb": memory[name],
        }
        for name, values in times.items()
    }


@dataclass
class Run:
    """The limits of a run.

    Args:
        quick: Whether to use only the smallest layers.
        least: Minimum number of rounds of a row.
        seconds_per_row: Time after which a row has no more than these rounds, for forward and for training.
        scale: Factor for the budgets.
    """

    quick: bool
    least: int
    seconds_per_row: float
    scale: float

    def deadline(self, budget: str) -> float:
        return time.monotonic() + BUDGETS[budget] * self.scale


def run_checks(run: Run, device: Device) -> dict:
    results: list[dict] = []

    def collect(name: str, checks: Iterator[dict]) -> None:
        begin = time.monotonic()
        for number, result in enumerate(checks, 1):
            results.append(result)
            if result["failure"]:
                log(f"FAILED: {result['dtype']}: {result['layer']}: {result['failure']}")
            if number % 100 == 0:
                log(f"checks of {name}: {number} in {time.monotonic() - begin:.0f} s")
        log(f"checks of {name}: done in {time.monotonic() - begin:.0f} s")

    rounds = 1 if run.quick else 20
    random_layers = check_random_layers(device.device, rounds, run.deadline("random layers"))
    collect("random layers", random_layers)
    collect("shapes", check_shapes(device.device, run.quick, run.deadline("shapes")))
    worst: dict[str, float] = {}
    for result in results:
        if result["error"] is not None:
            worst[result["dtype"]] = max(worst.get(result["dtype"], 0.0), result["error"])
    failed = [result for result in results if result["failure"]]
    return {"number": len(results), "largest_errors": worst, "failed": failed}


def run_times(run: Run, device: Device, dtype: torch.dtype) -> tuple[list[dict], list[str]]:
    """Return the rows, and the shapes for which there was no time."""
    cases = [(section, shape) for section, shapes in SECTIONS.items() for shape in shapes]
    if run.quick:
        cases = [(section, shape) for section, shape in cases if "tiny" in shape.name]
    cases.sort(key=lambda case: not case[1].scored)  # the most important ones first
    deadline, rows, late = run.deadline(_name(dtype)), [], []
    for number, (section, shape) in enumerate(cases, 1):
        if time.monotonic() > deadline:
            late.append(f"{section}: {shape}")
            continue
        log(f"{_name(dtype)}, {number} of {len(cases)}: {section}: {shape}")
        try:
            rows.append(measure_shape(section, shape, device, dtype, run))
        except RuntimeError as error:
            late.append(f"{section}: {shape} ({type(error).__name__})")
        device.clear()
    return rows, late


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def format_report(results: dict) -> str:
    about, checks = results["machine"], results["checks"]
    errors = ", ".join(f"{dtype} {error:.1e}" for dtype, error in checks["largest_errors"].items())
    lines = [
        f"{about['device']}, torch {about['torch']}, CUDA {about.get('cuda')}; TensorFloat-32 is off.",
        "",
        f"{checks['number']} checks, {len(checks['failed'])} failed; largest relative errors: {errors}.",
        *(f"- FAILED: {r['dtype']}: {r['layer']}: {r['failure']}" for r in checks["failed"]),
    ]
    for key in sorted({(row["dtype"], row["section"] == "partial") for row in results["rows"]}, reverse=True):
        rows = [row for row in results["rows"] if (row["dtype"], row["section"] == "partial") == key]
        lines += ["", *(_format_partial if key[1] else _format_rows)(key[0], rows)]
    for name, late in results["not_measured"].items():
        lines += (
            ["", f"Not measured in {name}, for lack of time or memory: {'; '.join(late)}."] if late else []
        )
    for row in results["rows"]:
        for side, reason in row["skipped"].items():
            lines += ["", f"Skipped in {row['dtype']}: {side} of {row['text']}: {reason}."]
    return "\n".join(lines)


def _format_rows(dtype: str, rows: list[dict]) -> list[str]:
    """Return a table with the times relative to weightshare."""
    lines = [
        f"Times in {dtype}. Above 1 x, the other side is slower than weightshare.",
        "",
        "| layer (N, C, size, O, k, stride, padding) | | weightshare (ms) | fastest alternative | shared conv"
        " | peak memory (MB): weightshare | alternative |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        for what in ("forward", "training"):
            sides = row[what]
            if "weightshare" not in sides:
                continue
            ours = sides["weightshare"]
            others = {name: side for name, side in sides.items() if name not in ("weightshare", SHARED)}
            name = min(others, key=lambda n: others[n]["median_ms"]) if others else None
            best = f"{_ratio(others[name], ours)} ({name})" if name else "-"
            shared = _ratio(sides[SHARED], ours) if SHARED in sides else "-"
            memory = [_memory(ours), _memory(others[name]) if name else "-"]
            text = f"{row['section']}: {row['text']}" if what == "forward" else ""
            cells = [text, what, f"{ours['median_ms']:.3g}", best, shared, *memory]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def _format_partial(dtype: str, rows: list[dict]) -> list[str]:
    """Return a table with the times of all sharings, relative to the shared convolution."""
    names = [*map(str, PARTIAL), SHARED]
    lines = [
        f"Partially shared layers in {dtype}: time in ms (relative to {SHARED}).",
        "",
        f"| layer (N, C, size, O, k, stride, padding) | | {' | '.join(names)} |",
        f"|---|---|{'---|' * len(names)}",
    ]
    for row in rows:
        for what in ("forward", "training"):
            base = row[what].get(SHARED)
            cells = [row["text"] if what == "forward" else "", what]
            for name in names:
                side = row[what].get(name)
                text = "-" if side is None else f"{side['median_ms']:.3g}"
                cells.append(f"{text} ({_ratio(side, base)})" if side and base else text)
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def _ratio(side: dict, base: dict) -> str:
    return f"{side['median_ms'] / base['median_ms']:.2f} x"


def _memory(side: dict) -> str:
    return "-" if side["peak_mb"] is None else f"{side['peak_mb']:.0f}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cuda", help="Device that is checked and timed.")
    parser.add_argument("--quick", action="store_true", help="Use only the smallest layers, and few rounds.")
    parser.add_argument("--checks-only", action="store_true", help="Run the checks without timing.")
    parser.add_argument("--scale", type=float, default=1.0, help="Factor for all time limits.")
    parser.add_argument(
        "--out", type=Path, default=Path("benchmarks/results"), help="Folder for the results."
    )
    arguments = parser.parse_args()
    if arguments.device.startswith("cuda") and not torch.cuda.is_available():
        log(f"torch {torch.__version__} finds no CUDA GPU; --device cpu --quick runs the code on the CPU.")
        return 2
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.manual_seed(0)
    begin, device = time.monotonic(), Device(arguments.device)
    run = Run(
        quick=arguments.quick,
        least=LEAST_QUICK if arguments.quick else LEAST,
        seconds_per_row=0.0 if arguments.quick else 0.8,
        scale=arguments.scale,
    )
    log(f"{device.describe()}")
    results: dict = {"machine": device.describe(), "settings": {"tf32": False, "quick": run.quick}}
    results |= {"checks": run_checks(run, device), "rows": [], "not_measured": {}}
    for dtype in () if arguments.checks_only else (torch.float32, torch.bfloat16):
        rows, late = run_times(run, device, dtype)
        results["rows"] += rows
        results["not_measured"][_name(dtype)] = late
    results["seconds"] = round(time.monotonic() - begin, 1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "gpu.json").write_text(json.dumps(results, indent=1) + "\n")
    (arguments.out / "gpu.md").write_text(format_report(results) + "\n")
    print(format_report(results))
    log(f"done in {results['seconds']} s; {arguments.out / 'gpu.json'}")
    return 1 if results["checks"]["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
