"""`SharedLinear`: initial values, checkpoints, the ledger, and what it refuses. Values: tests/contract."""

import copy

import pytest
import torch

import weightshare as ws
from weightshare import Pattern, nn
from weightshare.errors import ArgumentError, ShapeError
from weightshare.pattern import generators


def points(n):
    return Pattern.from_symmetry(generators.permutations(n), generators.permutations(n))


@pytest.mark.parametrize(
    "pattern",
    [points(64), Pattern.of(torch.nn.Linear(64, 64)), Pattern.of(torch.nn.Conv1d(1, 1, 3), 66)],
    ids=repr,
)
def test_outputs_start_with_the_variance_of_torchs_linear(pattern):
    torch.manual_seed(0)
    x = torch.randn(200, pattern.n_in)
    found = torch.stack([nn.SharedLinear(pattern, bias=False)(x).var() for _ in range(400)]).mean()
    assert found.item() == pytest.approx(1 / 3, rel=0.15)


def test_a_weight_is_drawn_by_the_connections_of_its_outputs():
    pattern = Pattern([(0, 0, 0), *[(1, i, 1) for i in range(100)]], 2, 100, bias=[0, 1])
    assert pattern.fan_in.tolist() == [1, 100]
    layers = [nn.SharedLinear(pattern) for _ in range(300)]
    largest = torch.stack([layer.weight for layer in layers]).abs().amax(0)
    assert largest.tolist() == pytest.approx([1, 0.1], rel=0.05)
    assert torch.stack([layer.bias for layer in layers]).abs().amax(0).tolist() == pytest.approx(
        [1, 0.1], rel=0.05
    )


def test_every_connection_its_own_is_torchs_linear():
    linear = torch.nn.Linear(4, 3)
    layer = nn.SharedLinear(Pattern.of(linear))
    layer.load_state_dict({"weight": linear.weight.flatten(), "bias": linear.bias}, strict=False)
    x = torch.randn(2, 5, 4)
    torch.testing.assert_close(layer(x), linear(x))


def test_the_pattern_of_the_layer_is_its_pattern():
    pattern = points(4)
    assert Pattern.of(nn.SharedLinear(pattern)) == pattern


def test_checkpoints_of_another_pattern_are_refused():
    layer, other = nn.SharedLinear(points(4)), nn.SharedLinear(points(5))
    assert list(layer.state_dict()) == ["weight", "bias", "pattern_digest"]
    before = copy.deepcopy(layer.state_dict())
    with pytest.raises(
        RuntimeError, match="SharedLinear: the checkpoint's weights are those of another pattern than"
    ):
        layer.load_state_dict(other.state_dict())
    assert all(torch.equal(before[name], value) for name, value in layer.state_dict().items())
    fresh = nn.SharedLinear(points(4))
    fresh.load_state_dict(layer.state_dict())
    assert torch.equal(fresh.weight, layer.weight)


def test_the_ledger_knows_it():
    totals = ws.summary(torch.nn.Sequential(nn.SharedLinear(points(4))))
    assert totals.to_dict()["totals"]["unique"] == 3
    assert "2 classes of connections that share" in str(totals.to_dict()["modules"])


def test_what_is_refused():
    with pytest.raises(
        ArgumentError, match=r"SharedLinear: pattern must be a Pattern, got list; use Pattern.from"
    ):
        nn.SharedLinear([[0, 0, 0]])
    with pytest.raises(ArgumentError, match="got one without connections"):
        nn.SharedLinear(Pattern([], 2, 2))
    with pytest.raises(ShapeError, match=r"the input must be \[\*, 4\], got \[2, 2, 2\]; flatten an image"):
        nn.SharedLinear(points(4))(torch.zeros(2, 2, 2))


def test_moves_and_meta():
    layer = nn.SharedLinear(points(4), device="meta").to_empty(device="cpu")
    assert repr(layer) == "SharedLinear(Pattern(4 inputs, 4 outputs: 16 connections with 2 weights, 1 bias))"
    assert "bias=False" in repr(nn.SharedLinear(points(4), bias=False))
