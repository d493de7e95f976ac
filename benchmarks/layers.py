"""Our layers against what people write today and against the shared convolution; method in README.md.

python benchmarks/layers.py [--quick] [--out FOLDER]
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console

from alternatives import broadcast, broadcast_bytes, unfold_bmm, unfold_einsum
from measure import Side, interleaved, machine
from weightshare import Full, Local, LowRank, Regional, SharedAlong, Tiled, nn

#: batch, in, size, out, kernel, stride, padding
LOCAL_SHAPES = {
    "generic 16 to 16": (64, 16, 32, 16, 3, 1, 0),
    "generic 64 to 64": (64, 64, 16, 64, 3, 1, 0),
    "DeepFace L4": (32, 16, 71, 16, 9, 1, 0),
    "DeepFace L5": (64, 16, 55, 16, 7, 2, 0),
    "AlexNet conv1 unshared": (16, 3, 227, 96, 11, 4, 0),
    "AlexNet conv1, batch 1": (1, 3, 227, 96, 11, 4, 0),
    "YOLOv1 local": (16, 1024, 7, 256, 3, 1, 1),
    "cuda-convnet local3": (128, 64, 8, 64, 3, 1, 1),
    "one image, 32 to 32": (1, 32, 56, 32, 3, 1, 1),
    "tiny": (2, 4, 10, 4, 3, 1, 0),
}
PARTIAL_SHAPES = {
    "32 channels, 32 x 32": (16, 32, 32, 32, 3, 1, 1),
    "64 channels, 32 x 32": (16, 64, 32, 64, 3, 1, 1),
    "32 channels, 64 x 64": (16, 32, 64, 32, 3, 1, 1),
    "one image, 16 channels, 64 x 64": (1, 16, 64, 16, 3, 1, 1),
}
PARTIAL = (Tiled(2), Regional(4), SharedAlong(1), LowRank(1), LowRank(4))
FULL_SHAPES = {f"512 channels, 7 x 7, batch {n}": (n, 512, 7, 512, 3, 1, 1) for n in (1, 16)}
ALTERNATIVES = {"unfold + einsum": unfold_einsum, "F.unfold + bmm": unfold_bmm, "broadcast": broadcast}
MOST_BYTES = 2 * 2**30


def local_sides(shape: tuple[int, ...]) -> dict[str, Callable[[torch.Tensor], torch.Tensor]]:
    """Ours, the alternatives on the same weights, and the shared convolution."""
    batch, channels, size, out, kernel, stride, padding = shape
    layer = nn.Conv2d(channels, out, kernel, stride, padding, bias=False, sharing=Local(), input_size=size)
    shared = torch.nn.Conv2d(channels, out, kernel, stride, padding, bias=False)
    sides: dict[str, Callable] = {"ours": layer}
    positions = len(layer.weight)
    for name, function in ALTERNATIVES.items():
        if function is broadcast and broadcast_bytes(batch, channels, positions, out, kernel) > MOST_BYTES:
            continue
        sides[name] = lambda x, f=function: f(x, layer.weight, kernel, stride, padding)
    return {**sides, "shared conv2d": shared}


def partial_sides(shape: tuple[int, ...]) -> dict[str, Callable[[torch.Tensor], torch.Tensor]]:
    """Partly shared layers and the shared convolution."""
    _, channels, size, out, kernel, stride, padding = shape
    shared = torch.nn.Conv2d(channels, out, kernel, stride, padding)
    layers = {
        str(s): nn.Conv2d(channels, out, kernel, stride, padding, sharing=s, input_size=size) for s in PARTIAL
    }
    return {**layers, "shared conv2d": shared}


def full_sides(shape: tuple[int, ...]) -> dict[str, Callable[[torch.Tensor], torch.Tensor]]:
    """Our full sharing and torch's own layer."""
    _, channels, _, out, kernel, stride, padding = shape
    shared = torch.nn.Conv2d(channels, out, kernel, stride, padding)
    return {
        "full": nn.Conv2d(channels, out, kernel, stride, padding, sharing=Full()),
        "shared conv2d": shared,
    }


def forward(module: Callable, x: torch.Tensor) -> Side:
    @torch.no_grad()
    def run():
        module(x)

    return run


def training(module: Callable, x: torch.Tensor, out: torch.Tensor, weights: list) -> Side:
    """Forward and the gradients of input and weights, into fresh tensors, as an optimiser step has them."""
    x = x.clone().requires_grad_()
    grad = torch.ones_like(out)

    def run():
        for leaf in (x, *weights):
            leaf.grad = None
        module(x).backward(grad)

    return run


def measure(name: str, shape: tuple[int, ...], make: Callable, rounds: int, seconds: float) -> dict:
    """One row: times of all sides, after checking that those of the same function agree."""
    modules = make(shape)
    x = torch.randn(shape[0], shape[1], shape[2], shape[2])
    with torch.no_grad():
        out = modules["shared conv2d"](x)
        for other in ALTERNATIVES.keys() & modules.keys():
            torch.testing.assert_close(modules[other](x), modules["ours"](x), rtol=1e-3, atol=1e-3)
    weights = [p for m in modules.values() if isinstance(m, torch.nn.Module) for p in m.parameters()]
    result = {
        "forward": interleaved({k: forward(m, x) for k, m in modules.items()}, rounds, seconds),
        "training": interleaved(
            {k: training(m, x, out, weights) for k, m in modules.items()}, rounds, seconds
        ),
    }
    return {"name": name, "shape": shape, **result}


def tables(results: dict) -> str:
    """The results as Markdown: milliseconds, and how many times slower than the named side."""
    lines = ["Median milliseconds; in brackets the time as a multiple of ours (above 1: ours is faster)."]
    lines += _table(results["local"], "ours")
    lines += ["", "Median milliseconds; in brackets the time as a multiple of the shared convolution's."]
    lines += _table(results["partial"], "shared conv2d") + _table(results["full"], "shared conv2d")
    machine_text = ", ".join(f"{key} {value}" for key, value in results["machine"].items())
    return "\n".join([*lines, "", f"Machine: {machine_text}. Command: `make bench`."])


def _table(rows: list[dict], against: str) -> list[str]:
    sides = list(dict.fromkeys(side for row in rows for side in row["forward"]))
    lines = [
        "",
        f"| layer (N, C, H, O, k, stride, padding) | | {' | '.join(sides)} |",
        "|---" * (len(sides) + 2) + "|",
    ]
    for row in rows:
        for what in ("forward", "training"):
            base = row[what][against]["median_ms"]
            cells = [
                f"{row[what][side]['median_ms']:.3g} ({row[what][side]['median_ms'] / base:.2f})"
                if side in row[what]
                else "too large"
                for side in sides
            ]
            label = f"{row['name']} {tuple(row['shape'])}" if what == "forward" else ""
            lines.append(f"| {label} | {what} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three rounds of everything")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    rounds, seconds = (3, 0.0) if arguments.quick else (41, 6.0)
    console = Console(stderr=True)
    results: dict = {"machine": machine()}
    torch.manual_seed(0)
    for kind, shapes, make in (
        ("local", LOCAL_SHAPES, local_sides),
        ("partial", PARTIAL_SHAPES, partial_sides),
        ("full", FULL_SHAPES, full_sides),
    ):
        results[kind] = []
        for name, shape in shapes.items():
            console.print(f"{kind}: {name}")
            results[kind].append(measure(name, shape, make, rounds, seconds))
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "layers.json").write_text(json.dumps(results, indent=1) + "\n")
    (arguments.out / "layers.md").write_text(tables(results) + "\n")
    print(tables(results))


if __name__ == "__main__":
    main()
