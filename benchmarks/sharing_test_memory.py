"""Measure the peak memory of the sharing test: python benchmarks/sharing_test_memory.py [--only NAME]

Each figure is the additional memory of one call in a new process, as in memory.py. The calls are one training
step with Adam, and `sharing_test` with the same batch size. The test is divided at the end of its first
trial: before it, gradients are measured and maps are computed; after it, candidates are trained.
"""

import argparse
import gc
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import TensorDataset

import weightshare as ws
from measure import describe_machine
from memory import ENVIRONMENT, RESET, read_status

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Case:
    """A network of convolutions with zero padding and ReLU, followed by pooling and a linear layer.

    Args:
        channels: Channels of the input and of each convolution.
        size: Height and width of the images.
        batch_size: Number of images per batch.
        kernel_size: Height and width of the kernels.
    """

    channels: tuple[int, ...]
    size: int
    batch_size: int
    kernel_size: int = 3

    def __str__(self) -> str:
        layers, k = " -> ".join(map(str, self.channels)), self.kernel_size
        return f"{layers} channels, {k} x {k}, on {self.size} x {self.size}, batch {self.batch_size}"

    def build(self) -> nn.Sequential:
        """Return the network in evaluation mode."""
        layers: list[nn.Module] = []
        for before, after in zip(self.channels, self.channels[1:]):
            layers += [nn.Conv2d(before, after, self.kernel_size, padding="same"), nn.ReLU()]
        return nn.Sequential(
            *layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * self.channels[-1], 10)
        ).eval()

    def draw(self, batches: int) -> TensorDataset:
        """Return random images and labels."""
        count = batches * self.batch_size
        x = torch.randn(count, self.channels[0], self.size, self.size)
        return TensorDataset(x, torch.randint(10, (count,)))

    @property
    def gradient_bytes(self) -> int:
        """Size of the gradients of one layer at all positions, for the largest layer."""
        pairs = zip(self.channels, self.channels[1:])
        return 4 * self.size**2 * self.kernel_size**2 * max(one * other for one, other in pairs)


CASES = {
    "small": Case((16, 16, 16, 16), 32, 100),
    "small batch": Case((16, 16, 16, 16), 32, 20),
    "wide": Case((3, 32, 64, 64), 16, 100),
    "one large layer": Case((64, 128), 16, 100),
    "few channels": Case((3, 8, 8, 8), 64, 50),
}
TINY = Case((2, 2, 2), 4, 10)


class Peaks:
    """Peaks of the resident memory of this process, beyond what it was at first."""

    def __init__(self):
        gc.collect()
        self._base = read_status("VmRSS")
        RESET.write_text("5")

    def read(self) -> int:
        """Return the peak in bytes since the last call."""
        peak = max(0, read_status("VmHWM") - self._base)
        RESET.write_text("5")
        return peak


def measure_step(case: Case) -> dict[str, int]:
    """Return the peak of a training step with Adam in bytes."""
    model, (x, y) = case.build(), case.draw(1).tensors
    peaks = Peaks()
    optimizer = torch.optim.Adam(model.parameters())
    cross_entropy(model(x), y).backward()
    optimizer.step()
    return {"step": peaks.read()}


def measure_test(case: Case) -> dict[str, int]:
    """Return the peaks of both parts of a sharing test in bytes."""
    model, data = case.build(), case.draw(4)
    found = []

    def progress(state: ws.diagnose.Progress) -> None:
        if state.done == 1:
            found.append(peaks.read())

    peaks = Peaks()
    ws.sharing_test(model, data, cross_entropy, epochs=1, batch_size=case.batch_size, progress=progress)
    return {"first part": found[0], "candidates": peaks.read()}


MEASURES = {"step": measure_step, "test": measure_test}


def measure(name: str) -> dict[str, int]:
    """Return all peaks of a case, each measured in a new process."""
    found = {"gradient": CASES[name].gradient_bytes}
    for what in MEASURES:
        command = [sys.executable, __file__, "--measure", what, "--only", name]
        done = subprocess.run(
            command, env=os.environ | ENVIRONMENT, capture_output=True, text=True, check=True
        )
        found |= json.loads(done.stdout)
    return found


def write_report(results: dict) -> str:
    """Return the results as Markdown."""
    head = [
        "network",
        "training step (MB)",
        "gradients of the largest layer (MB)",
        "twice the step + these gradients (MB)",
        "test: first part (MB)",
        "test: candidates (MB)",
        "largest / training step",
    ]
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    for name, row in results["cases"].items():
        parts = row["first part"], row["candidates"]
        values = row["step"], row["gradient"], 2 * row["step"] + row["gradient"], *parts
        cells = [f"{value / 1e6:.0f}" for value in values]
        lines.append(f"| {CASES[name]} | {' | '.join(cells)} | {max(parts) / row['step']:.1f} |")
    return f"{INTRODUCTION}\n" + "\n".join(lines) + "\n"


INTRODUCTION = """\
# Memory of the sharing test

Peak memory beyond model and data, on the CPU. The first part of the test checks model and data, measures the
gradients of the kernels at all positions, computes the maps, and judges the network as it is. In the second
part, candidates are trained.

Command: `python benchmarks/sharing_test_memory.py`.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=CASES, help="Measure only this case.")
    parser.add_argument("--measure", choices=MEASURES, help="Measure in this process, and print JSON.")
    parser.add_argument(
        "--out", type=Path, default=RESULTS / "sharing_test_memory.json", help="Results; .md beside it."
    )
    arguments = parser.parse_args()
    if arguments.measure is not None:
        call = MEASURES[arguments.measure]
        call(TINY)
        print(json.dumps(call(CASES[arguments.only])))
        return
    names = [arguments.only] if arguments.only else list(CASES)
    results = {
        "machine": describe_machine(),
        "torch": torch.__version__,
        "cases": {name: measure(name) for name in names},
    }
    arguments.out.write_text(json.dumps(results, indent=1) + "\n")
    text = write_report(results)
    arguments.out.with_suffix(".md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
