"""How long patterns, proofs and traces take: python benchmarks/symmetry.py [--out FOLDER]

Patterns of 32 x 32 images, the trace of ResNet-18 beside its forward pass, and `SharedLinear` beside
`torch.nn.Linear` of the same size. Medians of interleaved calls.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

import weightshare as ws
from ledger import milliseconds
from measure import machine
from weightshare.pattern import generators


def patterns() -> dict[str, Callable[[], object]]:
    """Orbits of a million connections, and proofs on a convolution with 9,216."""
    shifts = generators.circular_shifts((32, 32))
    circle = nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular")
    found, other = ws.Pattern.of(circle, 32), ws.Pattern.of(nn.Conv2d(1, 1, 3, padding=1), 32)
    return {
        "orbits of a 32 x 32 image (1,048,576 pairs)": lambda: ws.Pattern.from_symmetry(shifts, shifts),
        "pattern of a 3 x 3 layer on 32 x 32": lambda: ws.Pattern.of(circle, 32),
        "is_equivariant of it, which holds": lambda: found.is_equivariant(shifts[0], shifts[0]),
        "is_equivariant with zero padding, which fails": lambda: other.is_equivariant(shifts[0], shifts[0]),
        "symmetries of it": found.symmetries,
    }


def traces() -> dict[str, Callable[[], object]]:
    """The trace of one shift, of a further one, and all interventions (two causes, four combinations)."""
    model, x = ws.models.resnet18().eval(), torch.randn(1, 3, 224, 224)
    trace = ws.trace_equivariance(model, x)

    @torch.no_grad()
    def forward() -> None:
        model(x)

    return {
        "forward pass of ResNet-18": forward,
        "trace of one shift": lambda: ws.trace_equivariance(model, x),
        "a further shift": lambda: trace.at(32),
        "interventions": trace.interventions,
    }


def layers() -> dict[str, Callable[[], object]]:
    """Forward and backward at batch 64, 1,024 inputs and outputs."""
    shifts = generators.circular_shifts((32, 32))
    circle = nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular")
    sides = {
        "Linear": nn.Linear(1024, 1024),
        "SharedLinear, every connection (1,024 weights)": ws.nn.SharedLinear(
            ws.Pattern.from_symmetry(shifts, shifts)
        ),
        "SharedLinear, 9 connections an output (9 weights)": ws.nn.SharedLinear(ws.Pattern.of(circle, 32)),
    }
    x = torch.randn(64, 1024)
    return {f"step of {name}": lambda layer=layer: layer(x).sum().backward() for name, layer in sides.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    taken: dict[str, float] = {}
    for calls in (patterns(), traces(), layers()):
        taken |= milliseconds(calls, arguments.rounds)
    arguments.out.mkdir(parents=True, exist_ok=True)
    results = {"machine": machine(), "milliseconds": taken}
    (arguments.out / "symmetry.json").write_text(json.dumps(results, indent=1) + "\n")
    for name, value in taken.items():
        print(f"{name}: {value:.1f} ms")


if __name__ == "__main__":
    main()
