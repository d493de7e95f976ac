"""What the explorer computes in JavaScript equals what the package computes, in both directions."""

from typing import Any

import numpy as np
import pytest
import torch

import weightshare as ws
from tests.helpers.draws import draw_many
from tests.helpers.node import run_node
from weightshare.counting.drawing import describe_layer
from weightshare.counting.from_layer import read_layer
from weightshare.symmetry import prove_shift
from weightshare.testing.strategies import layers, transposed_layers


def flatten(values: torch.Tensor) -> list[float]:
    return values.detach().flatten().tolist()


def make_case(layer: Any, generator: torch.Generator) -> dict[str, Any]:
    """Return a layer with random parameters, an input and a direction for its gradient, as data."""
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    x = torch.randn(layer.in_channels, *layer.input_size, generator=generator, dtype=torch.float64)
    direction = torch.randn(layer.out_channels, *layer.output_size, generator=generator, dtype=torch.float64)
    low_rank = isinstance(layer.sharing, ws.LowRank) and layer.sharing.rank > 0
    return {
        "layer": describe_layer(read_layer(layer), layer.input_size),
        "weights": {
            "banks": flatten(layer.kernels()),
            "bias": None if layer.bias is None else flatten(layer.bias),
            "coefficients": flatten(layer.assignment()[:, 1:].T) if low_rank else None,
        },
        "input": flatten(x),
        "direction": flatten(direction),
    }


def compute(layer: Any, case: dict[str, Any]) -> dict[str, Any]:
    """Return what the package computes for a case."""
    x = torch.tensor(case["input"], dtype=torch.float64).view(1, layer.in_channels, *layer.input_size)
    x.requires_grad_()
    output = layer(x)
    direction = torch.tensor(case["direction"], dtype=torch.float64).view_as(output)
    (output * direction).sum().backward()
    weight = layer.weight.grad
    return {
        "outputs": flatten(output),
        "gradients": {
            "banks": flatten(layer._layout.to_banks(weight)),
            "bias": None if layer.bias is None else flatten(layer.bias.grad),
            "input": flatten(x.grad),
        },
    }


def check_counts(result: dict[str, Any], explanation: ws.Explanation) -> None:
    assert result["output"] == list(explanation.output[1:])
    for name in ("full", "local", "dense"):
        assert result["bySharing"][name] == explanation.by_sharing[name], name
    assert result["bySharing"]["own"] == explanation.parameters
    assert result["connections"] == explanation.connections
    assert result["macs"] == explanation.macs
    assert result["neurons"] == explanation.neurons
    assert result["deadTaps"] == explanation.dead_taps


@pytest.mark.parametrize(
    ("strategy", "number"), [(layers(), 800), (transposed_layers(), 200)], ids=["conv", "transposed"]
)
def test_counts_outputs_and_gradients_equal_those_of_the_package(strategy, number):
    generator = torch.Generator().manual_seed(0)
    drawn = draw_many(strategy, number)
    cases = [make_case(layer, generator) for layer in drawn]
    results = run_node("evaluate.mjs", cases)
    assert len(results) == len(cases) >= 0.95 * number
    for layer, case, result in zip(drawn, cases, results, strict=True):
        assert "error" not in result, (layer, result)
        check_counts(result, ws.explain(layer, layer.input_size))
        expected = compute(layer, case)
        np.testing.assert_allclose(
            result["outputs"], expected["outputs"], rtol=0, atol=1e-9, err_msg=str(layer)
        )
        for name in ("banks", "bias", "input"):
            if expected["gradients"][name] is not None:
                np.testing.assert_allclose(
                    result["gradients"][name],
                    expected["gradients"][name],
                    rtol=0,
                    atol=1e-6,
                    err_msg=f"{layer} {name}",
                )
        if "sums" in result:
            np.testing.assert_allclose(result["sums"], expected["outputs"], rtol=0, atol=1e-9)
        if "steps" in result:
            np.testing.assert_allclose(
                result["steps"], expected["gradients"]["banks"], rtol=0, atol=1e-6, err_msg=str(layer)
            )


KINDS = {"none": "exact", "border": "border", "structure": "broken"}


def test_shift_verdicts_equal_prove_shift():
    """Each layer is drawn with a shift that is a multiple of its stride."""
    generator = np.random.default_rng(0)
    drawn = [layer for layer in draw_many(layers(ndim=None), 700) if min(layer.output_size) > 1][:300]
    cases, proofs = [], []
    for layer in drawn:
        out_shift = [int(generator.integers(-1, 2)) for _ in layer.output_size]
        out_shift[int(generator.integers(len(out_shift)))] = int(generator.choice([-1, 1]))
        shift = [s * stride for s, stride in zip(out_shift, layer.stride)]
        if any(abs(s) >= n for s, n in zip(shift, layer.input_size)):
            continue
        cases.append({"layer": describe_layer(read_layer(layer), layer.input_size), "shift": shift})
        proofs.append(prove_shift(layer, shift))
    results = run_node("evaluate.mjs", cases)
    assert len(results) >= 200
    for case, proof, result in zip(cases, proofs, results, strict=True):
        found = result["shift"]
        where = f"{case}, {proof}, {found}"
        assert found["kind"] == KINDS[proof.cause], where
        assert found["total"] - found["good"] == proof.partial.violations, where
        border = proof.partial.border
        assert found["border"] == (None if border is None else [list(pair) for pair in border]), where
    assert {proof.cause for proof in proofs} == set(KINDS)


def test_states_of_the_sliders_equal_the_package():
    """The page draws states within the ranges of its controls and writes what it computes."""
    for given_ in run_node("draw_states.mjs", (), "300"):
        data, result = given_["layer"], given_["result"]
        layer = build_layer(data)
        check_counts(result, ws.explain(layer, layer.input_size))
        np.testing.assert_allclose(
            result["outputs"],
            flatten(evaluate(given_)),
            rtol=0,
            atol=1e-9,
        )


def build_layer(data: dict[str, Any]) -> Any:
    """Return the layer that data of the page describes."""
    ndim = len(data["inputSize"])
    arguments: dict[str, Any] = {"output_padding": data["outputPadding"]} if data["transposed"] else {}
    return getattr(ws.nn, f"Conv{'Transpose' * data['transposed']}{ndim}d")(
        data["inChannels"],
        data["outChannels"],
        tuple(data["kernelSize"]),
        stride=tuple(data["stride"]),
        padding=tuple(before for before, _ in data["padding"]),
        dilation=tuple(data["dilation"]),
        groups=data["groups"],
        bias=data["bias"],
        padding_mode=data["paddingMode"],
        sharing=ws.parse_sharing(data["sharing"]),
        bias_sharing=data["biasSharing"] and ws.parse_sharing(data["biasSharing"]),
        input_size=tuple(data["inputSize"]),
        dtype=torch.float64,
        **arguments,
    )


def evaluate(given_: dict[str, Any]) -> torch.Tensor:
    """Return the output of the layer with the weights that the page drew."""
    data, weights = given_["layer"], given_["weights"]
    if weights["coefficients"] is not None:
        data = {**data, "sharing": f"{data['sharing']}:free"}  # coefficients without a factorization
    layer = build_layer(data)
    with torch.no_grad():
        banks = torch.tensor(weights["banks"], dtype=torch.float64).view_as(layer.kernels())
        layer.weight.copy_(layer._layout.from_banks(banks))
        for name in ("bias", "coefficients"):
            if weights[name] is not None:
                parameter = getattr(layer, name)
                parameter.copy_(torch.tensor(weights[name], dtype=torch.float64).view_as(parameter))
    x = torch.tensor(given_["input"], dtype=torch.float64).view(1, layer.in_channels, *layer.input_size)
    return layer(x)
