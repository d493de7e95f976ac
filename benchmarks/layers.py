"""Our layers against what people write today and against the shared convolution; method in README.md.

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
from measure import Budget, Calm, Timer, interleaved, machine
from roofline import better
from shapes import SECTIONS, Shape
from summary import SHARED, add_judgement
from workers import Worker, WorkerError, has

#: Sections whose sides, but for the shared convolution, compute the same function of the same numbers.
SAME_FUNCTION = ("local", "grouped", "transposed")
PEERS = ("jax", "tf_keras")
#: How far two libraries may be apart, of the largest number.
TOLERANCE = 1e-3


class Run:
    """The workers, and what is known of the machine so far.

    Args:
        python: The interpreter of the peers' workers.
        budget: For each shape.
        with_memory: Whether to measure memory, which takes a process for every side.
        quick: Of ours alone.
    """

    def __init__(self, python: str, budget: Budget, with_memory: bool, quick: bool):
        self.python, self.budget, self.with_memory, self.quick = python, budget, with_memory, quick
        self.peers = [library for library in PEERS if has(library, python)]
        self.workers = {"torch": Worker("torch"), **{name: Worker(name, python) for name in self.peers}}
        self.peaks: dict[str, float] = {}
        self.calm = Calm(lambda: self.workers["torch"].ask("calibrate"))

    def row(self, section: str, shape: Shape) -> dict:
        """One shape: times, what was left out and why, and memory."""
        owners, left_out = self._build(section, shape)
        row: dict = {"shape": shape.as_dict(), "left_out": left_out, **_megabytes(section, shape)}
        for what in ("forward", "training"):
            timers = self._warm(owners, what, left_out, check=section in SAME_FUNCTION)
            row[what] = interleaved(timers, self.budget, self.calm)
        self.peaks = better(self.peaks, self.workers["torch"].ask("peaks"))
        row["dropped"] = sum(row[what]["dropped"] for what in ("forward", "training"))
        row["disturbed"] = sum(row[what]["disturbed"] for what in ("forward", "training"))
        measured = self.with_memory and section in SAME_FUNCTION
        row["extra_mb"] = self._memory(section, shape, owners) if measured else {}
        return row

    def _build(self, section: str, shape: Shape) -> tuple[dict[str, str], dict[str, str]]:
        """The library of each side, torch's first, and the reasons of those left out."""
        owners, left_out = {}, {}
        for library, worker in self.workers.items():
            try:
                built = worker.ask("build", section=section, shape=shape.as_dict())
            except WorkerError as error:
                if library not in PEERS:
                    raise
                built = {"sides": [], "left_out": {library: f"fails: {error}"}}
            owners |= dict.fromkeys(built["sides"], library)
            left_out |= built["left_out"]
        return owners, left_out

    def _warm(
        self, owners: dict[str, str], what: str, left_out: dict[str, str], check: bool
    ) -> dict[str, Timer]:
        """Call every side: an alternative that fails is left out, one that disagrees ends the run."""
        timers, ours = {}, None
        for name, library in owners.items():
            worker = self.workers[library]
            try:
                warmed = worker.ask("warm", side=name, what=what)
            except WorkerError as error:
                if name == "ours":
                    raise
                warmed = {"no": f"fails: {error}"}
            if "no" in warmed:
                left_out[name] = f"{what}: {warmed['no']}"
                continue
            ours = warmed["samples"] if name == "ours" else ours
            if check and name != SHARED:
                _check_close(name, what, warmed["samples"], ours)
            timers[name] = Timer(library, warmed["ms"], _asking(worker, name, what))
        return timers

    def _memory(self, section: str, shape: Shape, owners: dict[str, str]) -> dict[str, dict]:
        """Of every side in a process of its own."""
        extra = {}
        small = _small(shape)
        for name, library in owners.items():
            if not self._measures_memory(name, library, shape):
                continue
            _say(f"  memory of {name}")
            python = self.python if library in PEERS else sys.executable
            with Worker(library, python, memory.ENVIRONMENT) as worker:
                arguments = {"section": section, "shape": shape.as_dict(), "small": small.as_dict()}
                try:
                    extra[name] = worker.ask("memory", side=name, **arguments)
                except WorkerError as error:
                    _say(f"  {error}")
        return extra

    def _measures_memory(self, name: str, library: str, shape: Shape) -> bool:
        """Not of everything, since each takes a process: of the peers on one shape."""
        if self.quick:
            return name == "ours"
        return name not in (SHARED, "JAX NCHW") and (
            library not in PEERS or shape.name == "cuda-convnet local3"
        )

    def versions(self) -> dict[str, str]:
        return {key: text for worker in self.workers.values() for key, text in worker.ask("versions").items()}

    def close(self) -> None:
        for worker in self.workers.values():
            worker.close()


def _small(shape: Shape) -> Shape:
    """A small layer of as many axes and groups, to warm up a process."""
    channels = shape.groups * min(16, shape.channels // shape.groups)
    numbers = {"batch": min(16, shape.batch), "channels": channels, "size": 24, "out": channels}
    return Shape(**{**shape.as_dict(), **numbers})


def _asking(worker: Worker, name: str, what: str):
    return lambda calls: worker.ask("time", side=name, what=what, calls=calls)


def _check_close(name: str, what: str, got: list[float], want: list[float] | None) -> None:
    if want is None or len(got) != len(want):
        raise SystemExit(f"{name}, {what}: not as many numbers as ours")
    scale = max(map(abs, want))
    worst = max(abs(a - b) for a, b in zip(got, want)) / scale
    if math.isnan(worst) or worst > TOLERANCE:
        raise SystemExit(f"{name}, {what}: {worst:.1e} from ours")


def _megabytes(section: str, shape: Shape) -> dict[str, float]:
    """Of input, output and, for a layer that shares nothing, weights."""
    outputs, weights = shape.outputs, shape.weights
    if section == "transposed":
        out = (shape.size - 1) * shape.stride - 2 * shape.padding + shape.kernel
        outputs = shape.batch * shape.out * out**shape.ndim
        weights = shape.size**shape.ndim * shape.taps * shape.out
    numbers = {"input_mb": shape.inputs, "output_mb": outputs, "weights_mb": weights}
    return {name: 4e-6 * number for name, number in numbers.items()}


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _measure(run: Run, only: str | None, quick: bool) -> dict:
    results: dict = {"machine": machine(), "versions": run.versions()}
    for section, shapes in SECTIONS.items():
        results[section] = []
        for shape in shapes:
            if only is None or only.lower() in shape.name.lower():
                _say(f"{section}: {shape}")
                results[section].append(run.row(section, shape))
    _say("overhead")
    with Worker("torch") as worker:
        calls = worker.ask("overhead", rounds=3 if quick else 41)
    results["overhead"] = {"calls": calls, "imports": imports.seconds(1 if quick else 7)}
    rows = [row for section in SECTIONS for row in results[section]]
    results["roofline"] = run.peaks
    results["calm"] = {
        "product_ms": run.calm.best,
        "dropped": sum(row["dropped"] for row in rows),
        "kept": sum(row["disturbed"] for row in rows),
    }
    return results


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three rounds of everything, disturbed or not")
    parser.add_argument("--only", metavar="NAME", help="the shapes whose name contains this")
    parser.add_argument("--no-memory", action="store_true", help="times alone")
    parser.add_argument(
        "--peers-python", default=sys.executable, help="the interpreter that has jax and tf_keras"
    )
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    return parser.parse_args()


def main() -> None:
    arguments = _arguments()
    budget = (
        Budget(rounds=3, seconds=0.0, dropped=0, lost=0.0)
        if arguments.quick
        else Budget(rounds=41, seconds=0.4, dropped=10, lost=3.0)
    )
    run = Run(
        arguments.peers_python, budget, memory.measurable() and not arguments.no_memory, arguments.quick
    )
    try:
        results = _measure(run, arguments.only, arguments.quick)
    finally:
        run.close()
    add_judgement(results)
    results["command"] = " ".join(["python", *sys.argv])
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "layers.json").write_text(json.dumps(results, indent=1) + "\n")
    (arguments.out / "layers.md").write_text(tables.report(results) + "\n")
    print(tables.report(results))


if __name__ == "__main__":
    main()
