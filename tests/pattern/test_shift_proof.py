"""Attribution of a broken shift to the border of a layer or to weights that differ by position."""

from itertools import product

import numpy as np
import pytest
import torch
from torch import nn

import weightshare as ws
from weightshare.errors import PatternError
from weightshare.symmetry import prove_shift

CIRCULAR = {"padding": 1, "padding_mode": "circular"}

SHIFTS = [
    (nn.Conv1d(1, 1, 3), 8, "none"),
    (nn.Conv1d(1, 1, 3, padding=1), 8, "border"),
    (nn.Conv1d(1, 1, 3, padding=1, padding_mode="reflect"), 8, "border"),
    (nn.Conv1d(1, 1, 5, padding=1), 8, "border"),  # the sizes allow no circular control
    (nn.Conv1d(1, 1, 3, padding=4), 3, "border"),  # circular padding cannot be that large
    (nn.Conv1d(1, 1, 3, padding="same"), 8, "border"),
    (nn.Conv1d(1, 1, 3, padding="valid"), 8, "none"),
    (ws.nn.LocallyConnected1d(1, 1, 3, padding=1, input_size=8), None, "structure"),
    (ws.nn.LocallyConnected1d(1, 1, 3, input_size=8), None, "structure"),
    (ws.nn.Conv1d(1, 1, 3, padding=1, sharing=ws.Tiled(2), input_size=8), None, "structure"),
    (ws.nn.Conv1d(1, 1, 3, padding=1, sharing=ws.Regional(2), input_size=8), None, "structure"),
    (ws.nn.Conv1d(1, 1, 3, padding=1, bias_sharing=ws.Local(), input_size=8), None, "structure"),
    (ws.nn.Conv1d(1, 1, 3, sharing=ws.LowRank(2), input_size=8), None, "structure"),
    (ws.nn.Conv1d(1, 1, 3, sharing=ws.LowRank(0), input_size=8), None, "none"),  # the same as Full
    (nn.Linear(4, 4), None, "structure"),
    (ws.nn.ConvTranspose1d(1, 1, 3, sharing=ws.Local(), input_size=8), None, "structure"),
    (ws.nn.ConvTranspose1d(1, 1, 3, sharing=ws.Regional(2), input_size=8), None, "structure"),
    (ws.nn.ConvTranspose1d(1, 1, 3, sharing=ws.LowRank(2), input_size=8), None, "structure"),
    (ws.nn.ConvTranspose1d(1, 1, 3, bias_sharing=ws.Local(), input_size=8), None, "structure"),
    (ws.nn.ConvTranspose1d(1, 1, 1, input_size=8), None, "none"),
]


@pytest.mark.parametrize(("layer", "size", "cause"), SHIFTS, ids=str)
def test_the_border_is_distinguished_from_the_weights(layer, size, cause):
    assert prove_shift(layer, 1, size).cause == cause


def test_the_proof_as_text():
    found = prove_shift(nn.Conv2d(1, 1, 3, padding=1), (3, 5), 32)
    assert found.control
    assert str(found).startswith(
        "broken only at the border (exact with circular padding); shift (3, 5): 675 of"
    )
    tiled = ws.nn.Conv1d(1, 1, 3, padding=1, sharing=ws.Tiled(2), input_size=8)
    assert prove_shift(tiled, 2).cause == "border"
    assert "broken by weights that differ by position" in str(prove_shift(tiled, 1))
    low_rank = ws.nn.Conv1d(1, 1, 3, padding=1, sharing=ws.LowRank(2), input_size=8)
    assert str(prove_shift(low_rank, 1)).endswith("corrections of LowRank(2) differ by position)")
    circle = prove_shift(nn.Conv1d(1, 1, 3, **CIRCULAR), 1, 8)
    assert (circle.cause, bool(circle.control)) == ("border", True)
    with pytest.raises(PatternError, match="must be a multiple of the stride"):
        prove_shift(nn.Conv1d(1, 1, 3, stride=2), 1, 9)


def find_exact(layer, size, shift, out_shift):
    """Return by brute force where the output follows a shift whose entering values are arbitrary."""
    torch.manual_seed(0)
    layer = layer.double()
    x, moved = torch.randn(2, 1, layer.in_channels, *size, dtype=torch.float64)
    cut = [slice(max(0, -s), n - max(0, s)) for s, n in zip(shift, size)]
    paste = [slice(max(0, s), n + min(0, s)) for s, n in zip(shift, size)]
    moved[(..., *paste)] = x[(..., *cut)]
    with torch.no_grad():
        before, after = layer(x)[0], layer(moved)[0]
    exact = np.zeros(before.shape[1:], dtype=bool)
    for at in np.ndindex(*exact.shape):
        to = tuple(a + s for a, s in zip(at, out_shift))
        if all(0 <= a < n for a, n in zip(to, exact.shape)):
            difference = after[(slice(None), *to)] - before[(slice(None), *at)]
            exact[at] = difference.abs().max() < 1e-12
    return exact


TRANSPOSED = [
    (kind, axes, kernel_size, stride, padding, dilation, extra, groups)
    for axes, kernel_size, stride, padding, dilation, extra, groups in product(
        (1, 2, 3), (2, 3), (1, 2, 3), (0, 1), (1, 2), (0, 1), (1, 2)
    )
    for kind in ("torch", "weightshare")
    if extra < max(stride, dilation) and (axes < 3 or (kernel_size, groups) == (2, 1))
]


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("kind", ["torch", "weightshare"])
def test_a_transposed_convolution_is_broken_only_at_its_border(kind, axes):
    """Its kernel is the same at all positions. The exact positions are those found by brute force."""
    size, shift = ((9,), (6, 7), (4, 5, 4))[axes - 1], ((2,), (1, -1), (1, 0, -1))[axes - 1]
    cases = [case for case in TRANSPOSED if case[:2] == (kind, axes)]
    assert len(cases) > 5
    for case in cases:
        _, _, kernel_size, stride, padding, dilation, extra, groups = case
        arguments = (2, 2, kernel_size, stride, padding, extra, groups, True, dilation)
        module = nn if kind == "torch" else ws.nn
        more = {} if kind == "torch" else {"input_size": size}
        layer = getattr(module, f"ConvTranspose{axes}d")(*arguments, **more)
        found = prove_shift(layer, shift, size if kind == "torch" else None)
        out_shift = tuple(stride * s for s in shift)
        np.testing.assert_array_equal(found.partial.exact, find_exact(layer, size, shift, out_shift))
        assert found.cause == ("border" if found.partial.violations else "none")
        assert found.control is None


SHARINGS = [
    *(ws.Full(), ws.Tiled(2), ws.Tiled(3), ws.Regional(3), ws.Local(), ws.LowRank(0)),
    ws.Mapped([0, 1, 0, 1, 0, 1, 0]),
    ws.Mapped([0, 0, 0, 1, 1, 1, 1]),
]


@pytest.mark.parametrize("sharing", SHARINGS, ids=str)
@pytest.mark.parametrize("kind", ["Conv1d", "ConvTranspose1d"])
def test_the_structure_is_that_of_the_kernels(kind, sharing):
    """The structure is broken if kernels differ by the shift. A period need not divide the 7 positions."""
    layer = getattr(ws.nn, kind)(1, 1, 3, padding=1, sharing=sharing, input_size=7)
    kernels = (layer.assignment() @ layer.kernels().flatten(1)).detach()
    for shift in (-3, -2, -1, 1, 2, 3):
        found = prove_shift(layer, shift)
        low, high = max(0, -shift), 7 - max(0, shift)
        is_same = torch.equal(kernels[low:high], kernels[low + shift : high + shift])
        assert found.cause == ("border" if is_same else "structure")
        np.testing.assert_array_equal(found.partial.exact, find_exact(layer, (7,), (shift,), (shift,)))


def test_circular_structure_without_a_window():
    """The weights of a circulant matrix do not differ along a shift, so only values that enter break it."""
    (step,) = ws.pattern.generators.circular_shifts(6)
    seeds = [(0, 0), (0, 1)]
    layer = ws.nn.SharedLinear(ws.Pattern.from_symmetry([step], [step], support=seeds))
    assert prove_shift(layer, 1).cause == "border"
