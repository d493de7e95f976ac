"""Compare the layers with common alternatives and with the shared convolution of torch; see README.md.

python benchmarks/layers.py [--quick] [--only NAME] [--no-memory] [--peers-python PATH] [--out FOLDER]
"""

import argparse
import json
import math
import sys
from pathlib import Path

import imports
import memory
import tables
from measure import Budget, IdleCheck, Timer, describe_machine, measure_interleaved
from roofline import merge_peaks
from shapes import SECTIONS, Shape
from summary import OURS, SHARED, add_ratios
from workers import Worker, WorkerError, has_library

#: Sections whose sides compute the same function of the same values, except the shared convolution.
SAME_FUNCTION = ("local", "grouped", "transposed")
PEERS = ("jax", "tf_keras")
#: Maximum difference between two libraries, relative to the largest value.
TOLERANCE = 1e-3


class Run:
    """A run of the benchmark: the workers, and the peak performance measured so far.

    Args:
        python: Path of the interpreter for the workers of JAX and Keras.
        budget: Limits for each shape.
        with_memory: Whether to measure memory, which starts a process for each side.
        quick: Whether to measure memory of weightshare only.
    """

    def __init__(self, python: str, budget: Budget, with_memory: bool, quick: bool):
        self.python, self.budget, self.with_memory, self.quick = python, budget, with_memory, quick
        self.peers = [library for library in PEERS if has_library(library, python)]
        self.workers = {"torch": Worker("torch"), **{name: Worker(name, python) for name in self.peers}}
        self.peaks: dict[str, float] = {}
        self.is_idle = IdleCheck(lambda: self.workers["torch"].ask("time_short_product"))

    def measure_row(self, section: str, shape: Shape) -> dict:
        """Measure the times and memory of all sides for one shape, and record which sides are skipped."""
        libraries, left_out = self._build(section, shape)
        row: dict = {"shape": shape.as_dict(), "left_out": left_out, **_count_megabytes(section, shape)}
        for what in ("forward", "training"):
            timers = self._warm(libraries, what, left_out, check=section in SAME_FUNCTION)
            row[what] = measure_interleaved(timers, self.budget, self.is_idle)
        self.peaks = merge_peaks(self.peaks, self.workers["torch"].ask("measure_peaks"))
        row["dropped"] = sum(row[what]["dropped"] for what in ("forward", "training"))
        row["disturbed"] = sum(row[what]["disturbed"] for what in ("forward", "training"))
        measured = self.with_memory and section in SAME_FUNCTION
        row["extra_mb"] = self._measure_memory(section, shape, libraries) if measured else {}
        return row

    def _build(self, section: str, shape: Shape) -> tuple[dict[str, str], dict[str, str]]:
        """Build the sides, and return the library of each side and the reasons why others are skipped."""
        libraries, left_out = {}, {}
        for library, worker in self.workers.items():
            try:
                built = worker.ask("build", section=section, shape=shape.as_dict())
            except WorkerError as error:
                if library not in PEERS:
                    raise
                built = {"sides": [], "left_out": {library: f"fails: {error}"}}
            libraries |= dict.fromkeys(built["sides"], library)
            left_out |= built["left_out"]
        return libraries, left_out

    def _warm(
        self, libraries: dict[str, str], what: str, left_out: dict[str, str], check: bool
    ) -> dict[str, Timer]:
        """Warm up all sides. Skip an alternative that fails, and end the run if one disagrees."""
        timers, expected = {}, None
        for name, library in libraries.items():
            worker = self.workers[library]
            try:
                warmed = worker.ask("warm", side=name, what=what)
            except WorkerError as error:
                if name == OURS:
                    raise
                warmed = {"no": f"fails: {error}"}
            if "no" in warmed:
                left_out[name] = f"{what}: {warmed['no']}"
                continue
            expected = warmed["samples"] if name == OURS else expected
            if check and name != SHARED:
                _check_close(name, what, warmed["samples"], expected)
            timers[name] = Timer(library, warmed["ms"], _make_timer(worker, name, what))
        return timers

    def _measure_memory(self, section: str, shape: Shape, libraries: dict[str, str]) -> dict[str, dict]:
        """Measure the memory of each side in a new process."""
        extra = {}
        small = _make_small(shape)
        for name, library in libraries.items():
            if not self._has_memory(name, library, shape):
                continue
            _log(f"  memory of {name}")
            python = self.python if library in PEERS else sys.executable
            with Worker(library, python, memory.ENVIRONMENT) as worker:
                arguments = {"section": section, "shape": shape.as_dict(), "small": small.as_dict()}
                try:
                    extra[name] = worker.ask("measure_memory", side=name, **arguments)
                except WorkerError as error:
                    _log(f"  {error}")
        return extra

    def _has_memory(self, name: str, library: str, shape: Shape) -> bool:
        """Return whether to measure the memory of a side; of JAX and Keras, only for one shape."""
        if self.quick:
            return name == OURS
        return name not in (SHARED, "JAX NCHW") and (
            library not in PEERS or shape.name == "cuda-convnet local3"
        )

    def get_versions(self) -> dict[str, str]:
        """Return the versions of all libraries."""
        return {k: v for worker in self.workers.values() for k, v in worker.ask("get_versions").items()}

    def close(self) -> None:
        for worker in self.workers.values():
            worker.close()


def _make_small(shape: Shape) -> Shape:
    """Return a small shape with the same numbers of axes and groups, to warm up a process."""
    channels = shape.groups * min(16, shape.channels // shape.groups)
    numbers = {"batch": min(16, shape.batch), "channels": channels, "size": 24, "out": channels}
    return Shape(**{**shape.as_dict(), **numbers})


def _make_timer(worker: Worker, name: str, what: str):
    return lambda calls: worker.ask("time", side=name, what=what, calls=calls)


def _check_close(name: str, what: str, got: list[float], expected: list[float] | None) -> None:
    """End the run if the samples of a side differ from those of weightshare."""
    if expected is None or len(got) != len(expected):
        raise SystemExit(f"{name}, {what}: the result has another size than that of weightshare")
    scale = max(map(abs, expected))
    worst = max(abs(a - b) for a, b in zip(got, expected)) / scale
    if math.isnan(worst) or worst > TOLERANCE:
        raise SystemExit(f"{name}, {what}: the result differs from that of weightshare by {worst:.1e}")


def _count_megabytes(section: str, shape: Shape) -> dict[str, float]:
    """Return the megabytes of input, output and the weights of an unshared layer."""
    outputs, weights = shape.outputs, shape.weights
    if section == "transposed":
        out = (shape.size - 1) * shape.stride - 2 * shape.padding + shape.kernel
        outputs = shape.batch * shape.out * out**shape.ndim
        weights = shape.size**shape.ndim * shape.taps * shape.out
    numbers = {"input_mb": shape.inputs, "output_mb": outputs, "weights_mb": weights}
    return {name: 4e-6 * number for name, number in numbers.items()}


def _log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _measure(run: Run, only: str | None, quick: bool) -> dict:
    results: dict = {"machine": describe_machine(), "versions": run.get_versions()}
    for section, shapes in SECTIONS.items():
        results[section] = []
        for shape in shapes:
            if only is None or only.lower() in shape.name.lower():
                _log(f"{section}: {shape}")
                results[section].append(run.measure_row(section, shape))
    _log("overhead")
    with Worker("torch") as worker:
        calls = worker.ask("measure_calls", rounds=3 if quick else 41)
    results["overhead"] = {"calls": calls, "imports": imports.measure_imports(1 if quick else 7)}
    rows = [row for section in SECTIONS for row in results[section]]
    results["roofline"] = run.peaks
    results["calm"] = {
        "product_ms": run.is_idle.best,
        "dropped": sum(row["dropped"] for row in rows),
        "kept": sum(row["disturbed"] for row in rows),
    }
    return results


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quick",
        action="store_true",
        help="Measure three rounds of each side, without repeating disturbed rounds.",
    )
    parser.add_argument("--only", metavar="NAME", help="Measure only shapes whose name contains NAME.")
    parser.add_argument("--no-memory", action="store_true", help="Do not measure memory.")
    parser.add_argument("--peers-python", default=sys.executable, help="Interpreter with jax and tf_keras.")
    parser.add_argument(
        "--out", type=Path, default=Path("benchmarks/results"), help="Folder for the results."
    )
    return parser.parse_args()


def main() -> None:
    arguments = _arguments()
    budget = (
        Budget(rounds=3, seconds=0.0, repeats=0, repeat_seconds=0.0)
        if arguments.quick
        else Budget(rounds=41, seconds=0.4, repeats=10, repeat_seconds=3.0)
    )
    run = Run(
        arguments.peers_python, budget, memory.is_measurable() and not arguments.no_memory, arguments.quick
    )
    try:
        results = _measure(run, arguments.only, arguments.quick)
    finally:
        run.close()
    add_ratios(results)
    results["command"] = " ".join(["python", *sys.argv])
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "layers.json").write_text(json.dumps(results, indent=1) + "\n")
    (arguments.out / "layers.md").write_text(tables.format_report(results) + "\n")
    print(tables.format_report(results))


if __name__ == "__main__":
    main()
