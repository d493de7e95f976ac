"""The explorer's gradient descent equals that of torch, with shared weights and with copies."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from torch import Tensor

import weightshare as ws
from tests.helpers.draws import draw_many
from tests.helpers.node import run_node
from weightshare.counting.drawing import describe_layer
from weightshare.counting.from_layer import read_layer
from weightshare.testing.strategies import layers

RATE, STEPS = 0.001, 3
TOLERANCE = {"rtol": 1e-6, "atol": 1e-6}


@pytest.fixture(scope="module")
def cases() -> list[tuple[Any, dict[str, Any], dict[str, Any]]]:
    """Return layers, what the page is given, and what it computes."""
    drawn = draw_many(st.sampled_from([1, 2]).flatmap(layers), 200)
    generator = torch.Generator().manual_seed(0)
    inputs = [make_case(layer, generator) for layer in drawn]
    return list(zip(drawn, inputs, run_node("train.mjs", inputs), strict=True))


def flatten(values: Tensor) -> list[float]:
    return values.detach().flatten().tolist()


def is_mixed(layer: Any) -> bool:
    return isinstance(layer.sharing, ws.LowRank) and layer.sharing.rank > 0


def read_weights(layer: Any) -> dict[str, Any]:
    return {
        "banks": flatten(layer.kernels()),
        "bias": None if layer.bias is None else flatten(layer.bias),
        "coefficients": flatten(layer.assignment()[:, 1:].T) if is_mixed(layer) else None,
    }


def make_case(layer: Any, generator: torch.Generator) -> dict[str, Any]:
    """Return a layer with random parameters, an input and a target."""
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    x = torch.randn(layer.in_channels, *layer.input_size, generator=generator, dtype=torch.float64)
    target = torch.randn(layer.out_channels, *layer.output_size, generator=generator, dtype=torch.float64)
    return {
        "layer": describe_layer(read_layer(layer), layer.input_size),
        "weights": read_weights(layer),
        "input": flatten(x),
        "target": flatten(target),
        "kind": "mean" if torch.rand((), generator=generator) < 0.5 else "sum",
        "rate": RATE,
        "steps": STEPS,
    }


def compute_loss(layer: Any, case: dict[str, Any]) -> Tensor:
    x = torch.tensor(case["input"], dtype=torch.float64).view(1, layer.in_channels, *layer.input_size)
    output = layer(x)
    target = torch.tensor(case["target"], dtype=torch.float64).view_as(output)
    return torch.nn.functional.mse_loss(output, target, reduction=case["kind"])


def test_losses_gradients_and_weights_after_three_steps_equal_torch(cases):
    assert len(cases) >= 150
    assert sum(is_mixed(layer) for layer, *_ in cases) > 10
    assert len({type(layer.sharing) for layer, *_ in cases}) == 7
    for layer, case, result in cases:
        optimizer = torch.optim.SGD(layer.parameters(), lr=RATE)
        losses = []
        for step in range(STEPS):
            optimizer.zero_grad()
            loss = compute_loss(layer, case)
            loss.backward()
            losses.append(loss.item())
            if step == 0:
                check_gradients(layer, result)
            optimizer.step()
        losses.append(compute_loss(layer, case).item())
        np.testing.assert_allclose(result["losses"], losses, err_msg=str(layer), **TOLERANCE)
        for name, values in read_weights(layer).items():
            if values is not None:
                np.testing.assert_allclose(
                    result["weights"][name], values, err_msg=f"{layer} {name}", **TOLERANCE
                )


def check_gradients(layer: Any, result: dict[str, Any]) -> None:
    banks = flatten(layer._layout.to_banks(layer.weight.grad))
    np.testing.assert_allclose(result["gradients"]["banks"], banks, err_msg=str(layer), **TOLERANCE)
    if layer.bias is not None:
        np.testing.assert_allclose(result["gradients"]["bias"], flatten(layer.bias.grad), **TOLERANCE)


def test_copies_stay_equal_if_each_receives_the_sum_or_the_mean(cases):
    drifted = 0
    for layer, case, result in cases:
        if "rules" not in result or layer.bias is not None:
            continue
        rules, size = result["rules"], layer.kernels()[0].numel()
        labels = np.array(result["labels"])
        copies = np.array(rules["sum"]["weights"]["banks"]).reshape(-1, size)
        shared = np.array(result["weights"]["banks"]).reshape(-1, size)
        np.testing.assert_allclose(copies, shared[labels], **TOLERANCE)
        np.testing.assert_allclose(rules["sum"]["losses"], result["losses"], **TOLERANCE)
        assert rules["sum"]["spread"] == rules["mean"]["spread"] == 0
        start = np.array(case["weights"]["banks"]).reshape(-1, size)[labels]
        own = np.array(rules["own"]["weights"]["banks"]).reshape(-1, size)
        ranges = [np.ptp(own[labels == label], axis=0).max() for label in range(labels.max() + 1)]
        np.testing.assert_allclose(rules["own"]["spread"], max(ranges), **TOLERANCE)
        drifted += max(ranges) > 0
        assert start.shape == own.shape
    assert drifted > 20
