"""The explorer's verdicts on shifts equal what torch computes, position by position, also after pooling."""

from math import prod
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.helpers.draws import draw_many
from tests.helpers.node import run_node
from weightshare.counting.drawing import describe_layer
from weightshare.counting.from_layer import read_layer
from weightshare.symmetry import prove_shift
from weightshare.testing.strategies import layers

POOLINGS = ("none", "max", "average")
SCRIPT = "judge_pooled.mjs"


def draw_layers(number: int, **fixed: Any) -> list[Any]:
    """Return layers with one or two spatial axes, the same in each run."""
    strategy = st.sampled_from([1, 2, 2]).flatmap(lambda ndim: layers(ndim, **fixed))
    return [layer for layer in draw_many(strategy, number) if min(layer.output_size) > 3]


def draw_shift(layer: Any, pooling: str, generator: np.random.Generator) -> list[int]:
    """Return a shift of the input by at most one output position per axis, after pooling."""
    steps = generator.integers(-1, 2, len(layer.stride))
    steps[generator.integers(len(steps))] = generator.choice([-1, 1])
    return [int(n) * stride * (1 if pooling == "none" else 2) for n, stride in zip(steps, layer.stride)]


def pool(x: Tensor, pooling: str) -> Tensor:
    if pooling == "none":
        return x
    ndim = x.dim() - 2
    kind = ("Max" if pooling == "max" else "Avg") + f"Pool{ndim}d"
    return getattr(nn, kind)(2)(x)


def find_exact(
    layer: Any, pooling: str, shift: list[int], *, circular: bool, seed: int
) -> tuple[Tensor, Tensor]:
    """Return where the output follows the shift for random weights and inputs, and what is compared."""
    generator = torch.Generator().manual_seed(seed)
    axes = list(range(2, 2 + len(shift)))
    stride = [n * (1 if pooling == "none" else 2) for n in layer.stride]
    steps = [s // n for s, n in zip(shift, stride)]
    shape = (100, layer.in_channels, *layer.input_size)
    exact = compared = torch.ones(())
    for _ in range(4):
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.copy_(torch.randint(-9, 10, parameter.shape, generator=generator))
            before = torch.randint(-9, 10, shape, generator=generator).double()
            after = before.roll(shift, axes)
            entered = torch.ones(layer.input_size)
            entered[find_overlap(layer.input_size, shift)] = 0
            if not circular:  # any value may enter
                after = torch.where(entered.bool(), torch.randint(-9, 10, shape, generator=generator), after)
            one, other = pool(layer(before), pooling), pool(layer(after), pooling)
        equal = (one.roll(steps, axes) == other).all(0).all(0)
        compared = torch.zeros_like(equal)
        compared[... if circular else find_overlap(equal.shape, steps)] = True
        exact = equal & exact.bool()
    return exact & compared, compared


def find_overlap(size: Any, shift: list[int]) -> tuple[slice, ...]:
    return tuple(slice(max(0, s), max(0, n + min(0, s))) for s, n in zip(shift, size))


@pytest.mark.parametrize("pooling", POOLINGS)
def test_verdicts_equal_torch_position_by_position(pooling):
    generator = np.random.default_rng(1)
    drawn = draw_layers(450)
    shifts = [draw_shift(layer, pooling, generator) for layer in drawn]
    results = run_node(
        SCRIPT, [make_case(layer, pooling, shift, circular=False) for layer, shift in zip(drawn, shifts)]
    )
    assert len(results) >= 100
    kinds = set()
    for seed, (layer, shift, result) in enumerate(zip(drawn, shifts, results, strict=True)):
        where = f"{layer} {layer.input_size} {pooling} {shift} {result['kind']}"
        exact, compared = find_exact(layer, pooling, shift, circular=False, seed=seed)
        assert result["compared"] == compared.flatten().int().tolist(), where
        assert result["exact"] == exact.flatten().int().tolist(), where
        assert result["good"] == int(exact.sum()), where
        assert result["total"] == int(compared.sum()), where
        assert (result["kind"] == "exact") == bool((exact == compared).all()), where
        kinds.add(result["kind"])
    assert kinds == {"exact", "border", "broken"}


@pytest.mark.parametrize("pooling", POOLINGS)
def test_circular_verdicts_equal_torch_position_by_position(pooling):
    generator = np.random.default_rng(2)
    drawn = draw_layers(700, padding_mode="circular")
    stride = 1 if pooling == "none" else 2
    drawn = [
        layer
        for layer in drawn
        if all(
            o // stride * stride * s == n
            for o, s, n in zip(layer.output_size, layer.stride, layer.input_size)
        )
    ]
    shifts = [draw_shift(layer, pooling, generator) for layer in drawn]
    results = run_node(
        SCRIPT, [make_case(layer, pooling, shift, circular=True) for layer, shift in zip(drawn, shifts)]
    )
    assert len(results) > 20
    for seed, (layer, shift, result) in enumerate(zip(drawn, shifts, results, strict=True)):
        exact, _ = find_exact(layer, pooling, shift, circular=True, seed=seed)
        assert result["exact"] == exact.flatten().int().tolist(), f"{layer} {pooling} {shift}"
    assert {result["kind"] for result in results} == {"exact", "broken"}


def test_text_equals_that_of_prove_shift():
    generator = np.random.default_rng(3)
    drawn = draw_layers(150)
    shifts = [draw_shift(layer, "none", generator) for layer in drawn]
    results = run_node(
        SCRIPT, [make_case(layer, "none", shift, circular=False) for layer, shift in zip(drawn, shifts)]
    )
    for layer, shift, result in zip(drawn, shifts, results, strict=True):
        assert result["proof"] == str(prove_shift(layer, shift)), layer


def test_multiples_of_the_smallest_exact_shift_are_exact():
    drawn = draw_layers(500)
    results = run_node(
        SCRIPT, [make_case(layer, "none", [0] * len(layer.stride), circular=False) for layer in drawn]
    )
    checked = 0
    for layer, result in zip(drawn, results, strict=True):
        for axis, (least, stride, size) in enumerate(zip(result["shifts"], layer.stride, layer.output_size)):
            for steps in range(1, size // 2 + 1):
                shift = [steps * stride if i == axis else 0 for i in range(len(layer.stride))]
                broken = prove_shift(layer, shift).cause == "structure"
                if least is None or steps * stride < least:
                    assert broken, (layer, shift, least)
                elif steps * stride % least == 0 and min(layer.output_size) > 5:
                    assert not broken or steps * stride > least, (layer, shift, least)
                    checked += 1
    assert checked > 50


def make_case(layer: Any, pooling: str, shift: list[int], *, circular: bool) -> dict[str, Any]:
    assert prod(layer.output_size) > 0
    data = describe_layer(read_layer(layer), layer.input_size)
    return {"layer": data, "pooling": pooling, "shift": shift, "isCircular": circular}
