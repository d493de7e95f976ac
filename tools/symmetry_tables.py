"""Compute the tables of docs/symmetry.md and write them to the page: python -m tools.symmetry_tables"""

import sys

import torch
from torch import nn

import weightshare as ws
from weightshare.cli.equivariance import make_report
from weightshare.pattern import generators
from weightshare.symmetry import prove_shift, trace_equivariance

from .blocks import ROOT, replace_block


def run_command() -> str:
    """Return the output of `weightshare equivariance lenet5 --shift 1 --shift 4`."""
    return f"```text\n{make_report('lenet5', None, None, ['1', '4'], 'shift', True, 0, False)}\n```"


def compare_sharings() -> list[tuple[object, ...]]:
    """List the exact shifts of one layer per sharing, with circular padding and with zero padding."""
    sharings = [
        *(ws.Full(), ws.Tiled(2), ws.Tiled(3), ws.Tiled(4), ws.Tiled(6), ws.Regional(2), ws.Regional(4)),
        *(ws.Mapped([0] * 4 + [1] * 8), ws.LowRank(2), ws.Local()),
    ]
    rows: list[tuple[object, ...]] = [
        ("sharing", "weights", "circular shifts kept", "which", "zero padding, shift 1", "shift 2")
    ]
    for sharing in sharings:
        circular, zeros = (
            ws.nn.Conv1d(1, 1, 3, padding=1, padding_mode=mode, sharing=sharing, input_size=12, bias=False)
            for mode in ("circular", "zeros")
        )
        if isinstance(sharing, ws.LowRank):
            trace = trace_equivariance(draw_parameters(circular), torch.randn(1, 1, 12, dtype=torch.float64))
            assert trace.exact_for is None
            which = "only 0 (all, without the corrections)"
            causes = (prove_shift(zeros, shift).cause for shift in (1, 2))
            rows.append((f"`{sharing}`", circular.weight.numel(), 1, which, *causes))
            continue
        symmetries = ws.Pattern.of(circular).symmetries()
        step = symmetries.shifts[0][0][0] if symmetries.shifts else 12
        which = "all" if step == 1 else "only 0" if step == 12 else f"multiples of {step}"
        name = "`Mapped`: two regions of 4 and 8" if isinstance(sharing, ws.Mapped) else f"`{sharing}`"
        rows.append(
            (
                name,
                circular.weight.numel(),
                symmetries.n_shifts,
                which,
                *(attribute(zeros, s) for s in (1, 2)),
            )
        )
    dense = ws.Pattern.of(nn.Linear(12, 12, bias=False))
    rows.append(("dense", dense.n_weights, dense.symmetries().n_shifts, "only 0", "structure", "structure"))
    return rows


def attribute(layer: nn.Module, shift: int) -> str:
    """Return what breaks a shift and at how many positions it is exact."""
    proof = prove_shift(layer, shift)
    return f"{proof.cause}: {proof.partial.exact.sum()} of {proof.partial.compared} exact"


def draw_parameters(layer: nn.Module) -> nn.Module:
    """Draw all parameters, so that the corrections are not zero, as after training."""
    torch.manual_seed(0)
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    return layer.double().eval()


def count_weights() -> list[tuple[object, ...]]:
    """Count the weights and biases of the most general equivariant linear map, per symmetry."""
    points, pairs = generators.permutations, generators.on_pairs
    shifts, turns = generators.circular_shifts, generators.quarter_turns
    grid = shifts((16, 16))
    cases = [
        ("permutations of 6 points (Deep Sets)", points(6), points(6)),
        ("permutations of 6 points, one invariant output", points(6), [[0], [0]]),
        ("permutations of 4 points, acting on pairs (Maron et al. 2019)", pairs(points(4)), pairs(points(4))),
        ("circular shifts of 12", shifts(12), shifts(12)),
        ("circular shifts of 12 by multiples of 2, 6 outputs", shifts(12, step=2), shifts(6)),
        ("circular shifts of 16 x 16", grid, grid),
        ("circular shifts and quarter turns of 16 x 16", grid + turns((16, 16)), grid + turns((16, 16))),
        (
            "circular shifts, quarter turns and flips of 16 x 16",
            *[grid + turns((16, 16)) + generators.flips((16, 16), axes=0)] * 2,
        ),
        (
            "permutations of 3 sequences, circular shifts of their 5 positions",
            *[generators.product(points(3), shifts(5))] * 2,
        ),
    ]
    rows: list[tuple[object, ...]] = [("symmetry", "inputs", "connections", "weights", "biases")]
    for name, inputs, outputs in cases:
        pattern = ws.Pattern.from_symmetry(inputs, outputs)
        rows.append((name, pattern.n_in, f"{len(pattern.edges):,}", pattern.n_weights, pattern.n_biases))
    return rows


def build_network(padding_mode: str, down: str) -> nn.Module:
    """Build three convolutions, two down-samplings, global average pooling and a linear layer (seed 0)."""
    torch.manual_seed(0)

    def conv(inputs: int, stride: int = 1) -> nn.Module:
        return nn.Conv2d(inputs, 8, 3, stride, padding=1, padding_mode=padding_mode)

    def downsample() -> nn.Module:
        kinds = {"none": nn.Identity(), "max pool": nn.MaxPool2d(2), "stride": None}
        mode = "circular" if padding_mode == "circular" else "reflect"
        kinds["blur pool"] = ws.nn.BlurPool2d(padding_mode=mode)
        return kinds[down] or conv(8, 2)

    parts = [conv(3), nn.ReLU(), downsample(), conv(8), nn.ReLU(), downsample(), conv(8), nn.ReLU()]
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)).double().eval()


def compare_networks() -> list[tuple[object, ...]]:
    """List per network where a shift is lost, which shifts are exact, and the error of each cause alone."""
    x = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    head = (
        "padding",
        "down-sampling",
        "exact shifts (px)",
        "error, shift 1",
        "shift 4",
        "lost at",
        "error of each cause alone",
    )
    rows: list[tuple[object, ...]] = [head]
    for padding in ("circular", "zeros"):
        for down in ("none", "max pool", "stride", "blur pool"):
            trace = trace_equivariance(build_network(padding, down), x)
            lost = "nowhere" if trace.first_loss is None else f"`{trace.first_loss}`"
            cause = next((row.cause for row in trace.rows if row.name == trace.first_loss), "")
            exact = "none" if trace.exact_for is None else f"multiples of {trace.exact_for[0]}"
            exact = "all" if exact == "multiples of 1" else exact
            effects = ", ".join(f"{e.cause} {format_error(e.alone)}" for e in trace.interventions().effects)
            lost = f"{lost} ({cause})" if cause else lost
            rows.append(
                (padding, down, exact, format_error(trace.error), format_error(trace.at(4)), lost, effects)
            )
    return rows


def format_error(value: float | None) -> str:
    """Format an error with two digits; errors within rounding are 0."""
    assert value is not None
    return "0" if value < 1e-12 else f"{value:.1e}"


def format_markdown(rows: list[tuple[object, ...]]) -> str:
    lines = ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def main(page: str = str(ROOT / "docs/symmetry.md")) -> None:
    replace_block(page, run_command(), "command")
    tables = {"sharings": compare_sharings, "weights": count_weights, "networks": compare_networks}
    for name, compute in tables.items():
        replace_block(page, format_markdown(compute()), name)


if __name__ == "__main__":
    main(*sys.argv[1:])
