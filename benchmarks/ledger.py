"""Measure how long a summary takes: python benchmarks/ledger.py [--out FOLDER]

The models are ResNet-50 (25.6 million parameters in 161 tensors), without and with an input and compared to
its forward pass, and a model with 406 billion parameters on the meta device. Times are medians of interleaved
calls.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

import weightshare as ws
from measure import describe_machine

#: Number of layers, features and inner features of the model on the meta device.
LARGE = (126, 16384, 65536)


class Bottleneck(nn.Module):
    """A bottleneck block of ResNet-50."""

    def __init__(self, inputs: int, width: int, stride: int, shortcut: bool):
        super().__init__()
        parts = [(inputs, width, 1, 1, 0), (width, width, 3, stride, 1), (width, 4 * width, 1, 1, 0)]
        layers = []
        for a, b, k, s, p in parts:
            layers += [nn.Conv2d(a, b, k, s, p, bias=False), nn.BatchNorm2d(b), nn.ReLU(inplace=True)]
        self.inner = nn.Sequential(*layers[:-1])
        self.shortcut = nn.Identity()
        if shortcut:
            projection = nn.Conv2d(inputs, 4 * width, 1, stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(4 * width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.inner(x) + self.shortcut(x))


def resnet50() -> nn.Sequential:
    """Return ResNet-50, with 25,557,032 parameters."""
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    layers.append(nn.MaxPool2d(3, 2, 1))
    channels = 64
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            stride = 2 if block == 0 and width > 64 else 1
            layers.append(Bottleneck(channels, width, stride, block == 0))
            channels = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 1000))


def make_large() -> nn.Module:
    """Return linear layers with 406 billion parameters on the meta device."""
    layers, features, inner = LARGE
    sizes = [(features, features)] * 4 + [(features, inner), (inner, features)]
    with torch.device("meta"):
        return nn.Sequential(*(nn.Linear(a, b, bias=False) for _ in range(layers) for a, b in sizes))


def milliseconds(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the median time of each call; the calls alternate."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds + 1):
        for name, call in calls.items():
            begin = time.perf_counter()
            call()
            times[name].append(1e3 * (time.perf_counter() - begin))
    return {name: statistics.median(values[1:]) for name, values in times.items()}


def measure_all(rounds: int) -> dict[str, float]:
    """Return all times in milliseconds."""
    model, whole = resnet50().eval(), make_large()
    images = torch.zeros(1, 3, 224, 224)

    @torch.no_grad()
    def forward() -> None:
        model(images)

    calls = {
        "summary of ResNet-50": lambda: ws.summary(model),
        "its forward pass": forward,
        "summary with an input": lambda: ws.summary(model, images),
        f"summary of {ws.summary(whole).totals.unique / 1e9:.0f} billion": lambda: ws.summary(whole),
    }
    return milliseconds(calls, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    results = {"machine": describe_machine(), "milliseconds": measure_all(arguments.rounds)}
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "ledger.json").write_text(json.dumps(results, indent=1) + "\n")
    for name, median in results["milliseconds"].items():
        print(f"{name}: {median:.1f} ms")


if __name__ == "__main__":
    main()
