"""Proofs by random integers that a linear layer commutes with a transform."""

import pytest
import torch
from torch import nn

import weightshare as ws
from weightshare import Pattern
from weightshare.errors import SymmetryError
from weightshare.symmetry import flip, permute_channels, prove, rotate90, translate

CIRCULAR = {"padding": 1, "padding_mode": "circular"}


def test_circular_convolution():
    layer = nn.Conv2d(2, 3, 3, **CIRCULAR)
    before = layer.weight.clone()
    proof = prove(layer, (2, 8, 8), translate((3, 5)))
    assert proof
    assert proof.error_probability == pytest.approx((1 / 2**20 + 1 / 2**10) ** 3)
    assert str(proof) == "equivariant (error probability at most 9e-10)"
    assert torch.equal(layer.weight, before)


def test_zero_padding_violates_240_positions_of_1024():
    """Violations are the border of the map and its shifted copy; in the overlap they are a ring of 108."""
    layer = nn.Conv2d(1, 1, 3, padding=1)
    proof = prove(layer, (1, 32, 32), translate((3, 5)))
    assert (proof.holds, proof.violations, proof.compared) == (False, 240, 1024)
    crop = prove(layer, (1, 32, 32), translate((3, 5), "crop"))
    assert (crop.violations, crop.compared, crop.border) == (108, 783, ((1, 1), (1, 1)))
    partial = Pattern.of(layer, 32).partial_shift((3, 5))
    assert partial.exact.sum() == crop.exact.sum() == 675


@pytest.mark.parametrize(
    "sharing", [ws.Full(), ws.Tiled(2), ws.Tiled(4), ws.Regional(2), ws.Local()], ids=str
)
@pytest.mark.parametrize("shift", [1, 2, 4])
def test_black_boxes_agree_with_patterns(sharing, shift):
    layer = ws.nn.Conv1d(2, 2, 3, **CIRCULAR, sharing=sharing, input_size=8)
    found = prove(layer, (2, 8), translate(shift))
    roll = [(i // 8) * 8 + (i % 8 + shift) % 8 for i in range(16)]
    assert found.holds == Pattern.of(layer).is_equivariant(roll, roll).holds


def test_other_transforms_and_outputs():
    assert prove(lambda x: x.sum((2, 3)), (2, 4, 4), rotate90(), out="invariant")
    assert prove(lambda x: x.sum(1, keepdim=True), (3, 4), permute_channels([2, 0, 1]), out="invariant")
    assert not prove(nn.Conv1d(1, 1, 3, **CIRCULAR), (1, 8), flip())
    strided = nn.Conv1d(1, 1, 4, stride=2, **CIRCULAR)
    assert prove(strided, (1, 8), translate(2), out="scaled")
    two = nn.Sequential(nn.Conv1d(1, 2, 3), nn.Conv1d(2, 1, 3, stride=2))
    assert prove(two, (1, 17), translate(2, "crop"), out="scaled")


def test_what_cannot_be_proved():
    both = nn.Sequential(nn.Conv1d(1, 1, 3), nn.ReLU(), nn.Conv1d(1, 1, 3))
    with pytest.raises(
        SymmetryError, match=r"prove\(Sequential\): f must be linear up to a constant, got f\(x"
    ):
        prove(both, (1, 8), translate(1, "crop"))
    with pytest.raises(SymmetryError, match=r"integers below 2\*\*53.* got fractions"):
        prove(nn.AvgPool1d(3), (1, 9), translate(3), out="scaled")
    deep = nn.Sequential(*[nn.Conv1d(1, 1, 3, padding=1) for _ in range(5)])
    with pytest.raises(
        SymmetryError,
        match=r"integers below 2\*\*53.* got numbers up to .*prove its linear layers one by one",
    ):
        prove(deep, (1, 8), translate(1, "crop"))
