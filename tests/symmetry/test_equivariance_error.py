"""Transforms agree with NumPy, errors agree with hand-made functions, and invalid arguments raise errors."""

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import weightshare as ws
from weightshare.errors import ArgumentError, EquivarianceError, ShapeError, SymmetryError
from weightshare.symmetry import (
    assert_equivariant,
    equivariance_error,
    flip,
    permute_channels,
    rotate90,
    translate,
)


def images(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def circular(stride=1, channels=4):
    torch.manual_seed(0)
    return nn.Conv2d(3, channels, 3, stride, padding=1, padding_mode="circular").double().eval()


@given(st.integers(-9, 9), st.integers(-9, 9))
def test_a_circular_shift_equals_numpy_roll(dy, dx):
    x = images(2, 3, 4, 5)
    np.testing.assert_array_equal(translate((dy, dx))(x), np.roll(x.numpy(), (dy, dx), (2, 3)))


@given(st.integers(1, 9), st.floats(-4, 4))
def test_a_fractional_shift_moves_waves(n, shift):
    """Sine waves of every frequency below the highest that n samples can represent."""
    t = torch.arange(n, dtype=torch.float64)
    for frequency in range((n - 1) // 2 + 1):
        wave = torch.cos(2 * math.pi * frequency * t / n + 0.3)[None, None]
        expected = torch.cos(2 * math.pi * frequency * (t - shift) / n + 0.3)[None, None]
        torch.testing.assert_close(translate(shift, "fractional")(wave), expected, rtol=0, atol=1e-9)


@given(st.integers(2, 9), st.integers(-9, 9))
def test_a_fractional_shift_by_whole_pixels_is_a_roll(n, shift):
    x = images(1, 2, n)
    torch.testing.assert_close(translate(float(shift), "fractional")(x), torch.roll(x, shift, -1))


def test_rotations_flips_and_permuted_channels():
    x = images(1, 3, 4, 4)
    np.testing.assert_array_equal(rotate90(3)(x), np.rot90(x.numpy(), 3, (2, 3)))
    np.testing.assert_array_equal(flip(0)(x), x.numpy()[:, :, ::-1])
    np.testing.assert_array_equal(flip()(x), x.numpy()[..., ::-1])
    moved = permute_channels([1, 2, 0])(x)
    assert all(torch.equal(moved[:, to], x[:, c]) for c, to in enumerate([1, 2, 0]))


def test_circular_convolutions_are_exact_and_padded_ones_are_not():
    x = images(2, 3, 8, 8)
    exact = equivariance_error(circular(), x, translate((3, 5)))
    assert exact.relative < 1e-12
    padded = nn.Conv2d(3, 4, 3, padding=1).double().eval()
    found = equivariance_error(padded, x, translate((0, 1)))
    got, expected = padded(torch.roll(x, 1, 3)), torch.roll(padded(x), 1, 3)
    apart = got - expected
    assert found.absolute == pytest.approx(apart.norm().item())
    assert found.relative == pytest.approx((apart.norm() / expected.norm()).item())
    assert found.max == apart.abs().max().item()
    assert apart[found.where].abs() == found.max
    assert str(found).startswith("relative error 0.")


def test_the_overlap_of_a_crop():
    """A padded layer differs in a ring of the overlap, a layer without padding nowhere."""
    x = images(1, 1, 32, 32)
    ones = nn.Conv2d(1, 1, 3, padding=1).double().eval()
    assert equivariance_error(ones, x, translate((3, 5), "crop")).relative > 1e-3
    valid = nn.Conv2d(1, 1, 3).double().eval()
    assert equivariance_error(valid, x, translate((3, 5), "crop")).relative < 1e-12
    assert equivariance_error(valid, x, translate((-3, 5), "crop")).relative < 1e-12
    found = equivariance_error(ones, x, translate((3, 5), "crop"))
    assert found.where[2] in (3, 31) or found.where[3] in (5, 31)


def test_shifts_after_a_stride():
    x = images(1, 3, 8, 8)
    assert equivariance_error(circular(2), x, translate((4, -2)), out="scaled").relative < 1e-12
    odd = equivariance_error(circular(2), x, translate((1, 2)), out="scaled")
    assert (odd.relative, odd.absolute, odd.max, odd.where) == (None, None, None, None)
    assert str(odd) == "undefined for this stride: a shift by 1 is 1/2 of an output position"
    half = equivariance_error(circular(2), x, translate((1, 2), "fractional"), out="scaled")
    assert 0 < half.relative < 2
    up = nn.Upsample(scale_factor=2).eval()
    assert equivariance_error(up, x, translate((1, 2)), out="scaled").relative == 0
    assert equivariance_error(circular(2), x, translate((2, 4)), out=translate((1, 2))).relative < 1e-12
    valid = equivariance_error(nn.Conv2d(3, 1, 2).double().eval(), x, translate((1, 0)), out="scaled")
    expected = "7 output positions have no circular shift that matches one of 8 input positions"
    assert str(valid) == f"undefined for these sizes: {expected}"


def test_invariant_outputs_and_user_supplied_functions():
    model = nn.Sequential(circular(), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    x = images(2, 3, 8, 8)
    assert equivariance_error(model, x, translate((1, 2)), out="invariant").relative < 1e-12
    assert equivariance_error(lambda t: -t, x, lambda t: 2 * t).relative == 0
    assert equivariance_error(lambda t: t**2, x, lambda t: 2 * t, out=lambda t: 4 * t).relative == 0
    assert equivariance_error(lambda t: t**2, x, lambda t: 2 * t).relative == pytest.approx(1)
    symmetric = nn.Conv2d(3, 1, 1).double().eval()
    assert equivariance_error(symmetric, x, rotate90()).relative < 1e-12
    assert equivariance_error(torch.relu, x, permute_channels([2, 0, 1])).relative == 0


def test_outputs_of_zeros():
    x = images(1, 1, 4)
    assert equivariance_error(torch.zeros_like, x, flip()).relative == 0
    spike = equivariance_error(lambda t: (t.flip(-1) == x).double(), x, flip())
    assert spike.relative == math.inf
    assert spike.absolute == 2


def test_assertions():
    assert_equivariant(circular(), images(1, 3, 8, 8), translate((1, 2)))
    assert_equivariant(circular().float(), images(1, 3, 8, 8).float(), translate((1, 2)))
    padded = nn.Conv2d(3, 4, 3, padding=1).double().eval()
    text = r"assert_equivariant\(Conv2d\): the relative error must be at most 1e-12, got relative error 0"
    with pytest.raises(EquivarianceError, match=text):
        assert_equivariant(padded, images(1, 3, 8, 8), translate((1, 2)))
    with pytest.raises(AssertionError):
        assert_equivariant(padded, images(1, 3, 8, 8), translate((1, 2)), tol=1e-9)
    assert_equivariant(padded, images(1, 3, 8, 8), translate((1, 2)), tol=2)
    with pytest.raises(EquivarianceError, match="got undefined for this stride"):
        assert_equivariant(circular(2), images(1, 3, 8, 8), translate((1, 2)), out="scaled", tol=9)


def test_a_model_in_training_mode_is_restored():
    model = nn.Sequential(circular(), nn.BatchNorm2d(4).double(), nn.Dropout(0.5)).train()
    model[0].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    with pytest.warns(UserWarning, match="Sequential is in training mode; it is measured in evaluation mode"):
        found = equivariance_error(model, images(2, 3, 8, 8), translate((1, 2)))
    assert found.relative < 1e-12
    assert [module.training for module in model] == [False, True, True]
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        equivariance_error(model.eval(), images(2, 3, 8, 8), translate((1, 2)))


class Noisy(nn.Module):
    def forward(self, x):
        return x + torch.rand_like(x)


def test_models_that_are_not_deterministic_are_named():
    model = nn.Sequential(circular(), Noisy(), nn.ReLU()).eval()
    text = "Sequential: the model must be deterministic, got outputs that differ by .* first at '1'"
    with pytest.raises(SymmetryError, match=text):
        equivariance_error(model, images(1, 3, 8, 8), translate((1, 2)))
    with pytest.raises(SymmetryError, match="<lambda>: the model must be deterministic"):
        equivariance_error(lambda x: x + torch.rand(1), images(1, 3, 8, 8), translate((1, 2)))


def random_weights(x):
    return ws.nn.LocallyConnected2d(3, 1, 3, input_size=(6, 8)).double()(x)


fixed = ws.nn.LocallyConnected2d(3, 1, 3, input_size=(6, 8)).double().eval()


X = images(1, 3, 6, 8)


@pytest.mark.parametrize(
    ("act", "error", "text"),
    [
        (
            lambda: translate((1, 0.5)),
            ArgumentError,
            'shift must be an integer, got 0.5; use mode="fractional"',
        ),
        (
            lambda: translate(1, "zeros"),
            ArgumentError,
            "mode must be one of circular, crop, fractional, got 'zeros'",
        ),
        (
            lambda: rotate90(45),
            ArgumentError,
            "turns must be a number of quarter turns from -3 to 3, got 45; use 1 for 90 degrees",
        ),
        (lambda: permute_channels([0, 0]), ArgumentError, "every number from 0 to channels - 1 exactly once"),
        (lambda: permute_channels([1, 0])(X), ShapeError, r"must have 2 channels.*got \[1, 3, 6, 8\]"),
        (
            lambda: flip(2)(X),
            ArgumentError,
            r"axis must be one of the 2 spatial axes .*; use an axis in \[-2, 2\)",
        ),
        (
            lambda: flip(-3)(X),
            ArgumentError,
            r"axis must be one of the 2 spatial axes .*; use an axis in \[-2, 2\)",
        ),
        (lambda: translate((1, 1, 1))(X[0]), ShapeError, "must have 3 spatial axes after its channels"),
        (
            lambda: equivariance_error(fixed, X, rotate90()),
            SymmetryError,
            r"f must accept the transformed input \[1, 3, 8, 6\], as it accepts \[1, 3, 6, 8\], got Shape",
        ),
        (
            lambda: equivariance_error(random_weights, X, translate((1, 1))),
            SymmetryError,
            "must be deterministic",
        ),
        (
            lambda: equivariance_error(nn.Conv2d(3, 1, 3).double().eval(), X, translate((1, 1))),
            ShapeError,
            r'for out="same" the output must have the spatial size \(6, 8\) of the input, got \(4, 6\)',
        ),
        (
            lambda: equivariance_error(lambda x: x.mean((2, 3)), X, translate((1, 1))),
            ShapeError,
            r"""the output must have the 2 spatial axes of the input, got \[1, 3\]; use out="invariant""",
        ),
        (
            lambda: equivariance_error(torch.relu, X, flip(), out="both"),
            ArgumentError,
            "out must be one of 'invariant'",
        ),
        (
            lambda: equivariance_error(torch.relu, X, 3),
            ArgumentError,
            "the transform must be one of weightshare.sym",
        ),
        (
            lambda: equivariance_error(torch.relu, X, lambda x: None),
            ArgumentError,
            "must return a tensor, got NoneType",
        ),
        (
            lambda: equivariance_error(torch.relu, X.numpy(), flip()),
            ArgumentError,
            "x must be a non-empty tensor, got ndarray",
        ),
        (
            lambda: equivariance_error(lambda x: (x,), X, flip()),
            ArgumentError,
            r"the output must be one tensor, got tuple; .* e.g. lambda x: model\(x\)\[0\].$",
        ),
        (
            lambda: equivariance_error(lambda x: {"n": 3, "logits": x}, X, flip()),
            ArgumentError,
            r"got dict with keys 'n', 'logits'; .* e.g. lambda x: model\(x\)\['logits'\].$",
        ),
        (
            lambda: equivariance_error(lambda x: dict.fromkeys(range(20), x), X, flip()),
            ArgumentError,
            r"got dict with keys 0, 1, 2, 3, 4, 5, 6, 7, ...; wrap",
        ),
        (
            lambda: equivariance_error(lambda x: {}, X, flip()),
            ArgumentError,
            "the output must be one tensor, got dict with no keys.$",
        ),
        (
            lambda: equivariance_error(lambda x: "text", X, flip()),
            ArgumentError,
            "the output must be one tensor, got str.$",
        ),
        (
            lambda: equivariance_error(torch.relu, X.to_sparse(), flip()),
            ArgumentError,
            "x must be a dense tensor with values, got one with torch.sparse_coo.$",
        ),
        (
            lambda: equivariance_error(torch.relu, X.to("meta"), flip()),
            ArgumentError,
            "x must be a dense tensor with values, got a tensor on the meta device.$",
        ),
        (
            lambda: equivariance_error(nn.Conv2d(3, 1, 1, device="meta"), X, flip()),
            ArgumentError,
            "equivariance_error: the model must have values, got 'weight' on the meta device",
        ),
        (
            lambda: assert_equivariant(nn.LazyConv2d(1, 1), X, flip()),
            ArgumentError,
            "the sizes of the model must be known, got 'weight' of a lazy module; run the model once",
        ),
        (
            lambda: equivariance_error(torch.relu, X[..., :1, :1], translate((1, 1), "crop")),
            ShapeError,
            r"must be smaller than the output, .* got \[1, 3, 1, 1\]; use a smaller shift or a larger input",
        ),
        (
            lambda: equivariance_error(torch.log, -X.abs(), flip()),
            SymmetryError,
            "the outputs must be finite, got 144",
        ),
        (
            lambda: equivariance_error(torch.relu, X, lambda x: x[:, :, :2], out=lambda y: y),
            ShapeError,
            r"the output for the transformed input must have the shape \[1, 3, 6, 8\], got \[1, 3, 2, 8\]",
        ),
        (
            lambda: equivariance_error(torch.relu, X, translate((6, 0), "crop")),
            ShapeError,
            "so that positions remain to compare",
        ),
    ],
)
def test_errors(act, error, text):
    with pytest.raises(error, match=text):
        act()


def test_an_error_raised_by_the_model_is_not_replaced():
    with pytest.raises(ZeroDivisionError):
        equivariance_error(lambda x: x / (1 // 0), X, flip())
