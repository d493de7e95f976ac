"""Time patterns, proofs and traces: python benchmarks/symmetry.py [--out FOLDER]

The benchmark covers patterns on 32 x 32 images, the trace of ResNet-18 compared with its forward pass, and
`SharedLinear` compared with a `torch.nn.Linear` of the same size. Reported are medians of interleaved calls.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

import weightshare as ws
from ledger import milliseconds
from measure import describe_machine
from weightshare.pattern import generators


def make_pattern_calls() -> dict[str, Callable[[], object]]:
    """Return calls that find the orbits of a million connections, and that check a convolution with 9,216."""
    shifts = generators.circular_shifts((32, 32))
    conv = nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular")
    circular, zeros = ws.Pattern.of(conv, 32), ws.Pattern.of(nn.Conv2d(1, 1, 3, padding=1), 32)
    return {
        "orbits of a 32 x 32 image (1,048,576 pairs)": lambda: ws.Pattern.from_symmetry(shifts, shifts),
        "pattern of a 3 x 3 layer on 32 x 32": lambda: ws.Pattern.of(conv, 32),
        "is_equivariant with circular padding, which holds": lambda: circular.is_equivariant(
            shifts[0], shifts[0]
        ),
        "is_equivariant with zero padding, which fails": lambda: zeros.is_equivariant(shifts[0], shifts[0]),
        "symmetries of the 3 x 3 layer": circular.symmetries,
    }


def make_trace_calls() -> dict[str, Callable[[], object]]:
    """Return calls that trace a shift, measure another one, and run all interventions on two causes."""
    model, x = ws.models.resnet18().eval(), torch.randn(1, 3, 224, 224)
    trace = ws.trace_equivariance(model, x)

    @torch.no_grad()
    def forward() -> None:
        model(x)

    return {
        "forward pass of ResNet-18": forward,
        "trace of one shift": lambda: ws.trace_equivariance(model, x),
        "error of another shift": lambda: trace.at(32),
        "interventions": trace.interventions,
    }


def make_layer_calls() -> dict[str, Callable[[], object]]:
    """Return training steps (forward and backward) at batch size 64, with 1,024 inputs and outputs."""
    shifts = generators.circular_shifts((32, 32))
    circle = nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular")
    candidates = {
        "Linear": nn.Linear(1024, 1024),
        "SharedLinear, every connection (1,024 weights)": ws.nn.SharedLinear(
            ws.Pattern.from_symmetry(shifts, shifts)
        ),
        "SharedLinear, 9 connections per output (9 weights)": ws.nn.SharedLinear(ws.Pattern.of(circle, 32)),
    }
    x = torch.randn(64, 1024)
    return {
        f"step of {name}": lambda layer=layer: layer(x).sum().backward() for name, layer in candidates.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    times: dict[str, float] = {}
    for calls in (make_pattern_calls(), make_trace_calls(), make_layer_calls()):
        times |= milliseconds(calls, arguments.rounds)
    arguments.out.mkdir(parents=True, exist_ok=True)
    results = {"machine": describe_machine(), "milliseconds": times}
    (arguments.out / "symmetry.json").write_text(json.dumps(results, indent=1) + "\n")
    for name, value in times.items():
        print(f"{name}: {value:.1f} ms")


if __name__ == "__main__":
    main()
