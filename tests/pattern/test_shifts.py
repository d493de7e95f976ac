"""Partial shifts agree with layers that run on shifted images of random integers."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import weightshare as ws
from weightshare import Pattern
from weightshare.errors import ArgumentError, PatternError
from weightshare.pattern.shifts import find_border
from weightshare.testing.strategies import layers


def shifted(x, shift):
    """Return the image after a shift, with random integers at the positions that enter."""
    result = torch.randint(1, 2**20, x.shape).double()
    source = tuple(slice(max(0, -s), x.shape[k + 2] - max(0, s)) for k, s in enumerate(shift))
    target = tuple(slice(max(0, s), x.shape[k + 2] - max(0, -s)) for k, s in enumerate(shift))
    if all(abs(s) < n for s, n in zip(shift, x.shape[2:])):
        result[(..., *target)] = x[(..., *source)]
    return result


@settings(max_examples=80, deadline=None)
@given(layers(any_padding=True), st.data())
def test_exact_outputs_are_those_that_agree_on_images(layer, data):
    if isinstance(layer.sharing, ws.LowRank):
        return
    torch.manual_seed(data.draw(st.integers(0, 99)))
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randint(1, 2**10, parameter.shape))
    stride = layer.window.stride
    steps = [data.draw(st.integers(-2, 2)) for _ in stride]
    shift = tuple(t * s for t, s in zip(steps, stride))
    if any(abs(t) >= n for t, n in zip(steps, layer.output_size)):
        with pytest.raises(PatternError, match="the shift must leave some of the"):
            Pattern.of(layer).partial_shift(shift)
        return
    found = Pattern.of(layer).partial_shift(shift)
    x = torch.randint(1, 2**20, (1, layer.in_channels, *layer.input_size)).double()
    agrees = torch.ones(layer.output_size, dtype=torch.bool)
    for _ in range(3):  # a value that enters may equal the one that left by chance
        before, after = layer(x), layer(shifted(x, shift))
        back = torch.roll(after, [-t for t in steps], tuple(range(2, after.dim())))
        agrees &= (before == back).all(1)[0]
    inside = np.zeros(layer.output_size, dtype=bool)
    inside[np.ix_(*found.overlap)] = True
    np.testing.assert_array_equal(found.exact, agrees.numpy() & inside)


def test_the_ring_of_zero_padding():
    found = Pattern.of(torch.nn.Conv2d(1, 1, 3, padding=1), 32).partial_shift((3, 5))
    assert (found.compared, found.violations) == (783, 108)
    assert found.border == ((1, 1), (1, 1))
    assert found.interior == (27, 25)
    head = "shift (3, 5): 675 of 783 positions exact"
    assert str(found) == f"{head}; interior 27 x 25; border widths (1, 1), (1, 1)"


def test_layers_without_padding_are_exact_in_the_whole_overlap():
    found = Pattern.of(torch.nn.Conv1d(1, 1, 3), 8).partial_shift(1)
    assert (found.compared, found.violations, found.border) == (5, 0, ((0, 0),))
    assert str(found) == "shift (1,): 5 of 5 positions exact"
    padded = Pattern.of(torch.nn.Conv1d(1, 1, 3, padding=1), 8).partial_shift(1)
    assert np.flatnonzero(padded.exact).tolist() == [1, 2, 3, 4, 5]


def test_a_locally_connected_layer_has_no_interior():
    layer = ws.nn.LocallyConnected2d(1, 1, 3, padding=1, input_size=8)
    found = Pattern.of(layer).partial_shift((0, 1))
    assert (found.border, found.interior) == (None, None)
    assert str(found) == "shift (0, 1): 0 of 56 positions exact; no interior"
    control = Pattern.of(layer, padding_mode="circular").partial_shift((0, 1))
    assert control.border is None


def test_a_shift_must_be_a_multiple_of_the_stride():
    pattern = Pattern.of(torch.nn.Conv1d(1, 1, 3, stride=2), 9)
    assert pattern.partial_shift(2).out_shift == (1,)
    text = r"shift must be a multiple of the stride \(2\), got \(1,\); use a multiple, or pass out_shift"
    with pytest.raises(PatternError, match=text):
        pattern.partial_shift(1)
    assert pattern.partial_shift(1, out_shift=0).violations == 4
    up = Pattern.of(torch.nn.ConvTranspose1d(1, 1, 2, stride=2), 4)
    assert up.partial_shift(1).out_shift == (2,)
    with pytest.raises(ArgumentError, match="shift must have one integer for each of 1 spatial axes"):
        pattern.partial_shift((1, 2))


def test_shifts_are_integers():
    pattern = Pattern.of(torch.nn.Conv1d(1, 1, 3), 9)
    for wrong in (0.5, "1", True):
        with pytest.raises(ArgumentError, match=f"shift must be an integer, got {wrong!r}.$"):
            pattern.partial_shift((wrong,))
    assert pattern.partial_shift(-1).out_shift == (-1,)


def test_the_border_of_a_mask():
    mask = np.ones((5, 6), dtype=bool)
    assert find_border(mask) == ((0, 0), (0, 0))
    mask[0], mask[:, 4:] = False, False
    assert find_border(mask) == ((1, 0), (0, 2))
    assert find_border(np.zeros((2, 2), dtype=bool)) is None
    mask = np.ones(30, dtype=bool)
    mask[[1, 27]] = False  # everything outside the largest interval counts as border
    assert find_border(mask) == ((2, 3),)
    wide = np.zeros((3, 3, 40), dtype=bool)
    wide[1, :2, 5:39] = True
    assert find_border(wide) == ((1, 1), (0, 1), (5, 1))
    assert find_border(np.ones((0, 3), dtype=bool)) is None


@pytest.mark.parametrize(
    ("layer", "border"),
    [
        (torch.nn.Conv1d(1, 1, 3, padding=2, dilation=2), (2, 2)),
        (torch.nn.Conv1d(1, 1, 3, padding=6, dilation=3), (6, 6)),
        (torch.nn.ConvTranspose1d(1, 1, 4, stride=2), (2, 2)),
    ],
)
def test_the_border_of_dilated_and_transposed_layers(layer, border):
    found = Pattern.of(layer, 32).partial_shift(1)
    assert found.border == (border,)
    assert found.exact[found.overlap[0]][slice(border[0], -border[1])].all()
