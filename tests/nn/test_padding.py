"""Padding per axis and per side, with a mode per axis: values, counts, symmetry and refusals."""

import copy
import io
import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

import weightshare as ws
from tests.helpers.sharings import SHARINGS
from weightshare import Full, Local, LowRank, Pattern, Tiled, Window, functional, nn, reference
from weightshare.errors import ArgumentError, ConversionError, ShapeError
from weightshare.symmetry import prove, prove_shift, translate
from weightshare.testing import check_layer

MODES = ("zeros", "circular", "reflect", "replicate")
CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TORCH_MODE = {"zeros": "constant"}


def pad(x, pairs, modes):
    """Pad one axis at a time with torch."""
    ndim = len(pairs)
    for axis, (pair, mode) in enumerate(zip(pairs, modes, strict=True)):
        rest = [0, 0] * (ndim - 1 - axis)
        x = F.pad(x, [*rest, *pair, *[0, 0] * axis], mode=TORCH_MODE.get(mode, mode))
    return x


@st.composite
def geometries(draw):
    ndim = draw(st.integers(1, 3))
    numbers = st.tuples(*[st.integers(0, 2)] * 2)
    pairs = draw(st.tuples(*[numbers] * ndim))
    modes = draw(st.tuples(*[st.sampled_from(MODES)] * ndim))
    kernel = draw(st.tuples(*[st.integers(1, 3)] * ndim))
    stride = draw(st.tuples(*[st.integers(1, 2)] * ndim))
    size = draw(st.tuples(*[st.integers(3, 5)] * ndim))
    return pairs, modes, kernel, stride, size


@given(geometries(), st.booleans(), st.sampled_from([Full(), Local(), Tiled(1), LowRank(1)]))
def test_values_and_gradients_equal_those_of_a_padded_input(geometry, bias, sharing):
    pairs, modes, kernel, stride, size = geometry
    ndim = len(size)
    torch.manual_seed(0)
    layer = getattr(nn, f"Conv{ndim}d")(
        2, 4, kernel, stride, pairs, groups=2, bias=bias, padding_mode=modes, dtype=torch.float64,
        sharing=sharing, input_size=size,
    )  # fmt: skip
    if sharing == Local():
        banks = layer.kernels().detach()
        banks.copy_(banks[:1].expand_as(banks))
        if bias:
            layer.bias.detach().copy_(layer.bias[:1].detach().expand_as(layer.bias))
    x = torch.randn(2, 2, *size, dtype=torch.float64, requires_grad=True)
    y = x.detach().clone().requires_grad_()
    kernel_bank = layer.kernels()[0].detach()
    one_bias = layer.bias.detach().reshape(-1, 4)[0] if bias else None
    expected = CONV[ndim](pad(y, pairs, modes), kernel_bank, one_bias, stride, groups=2)
    got = layer(x)
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(layer(x[0]), expected[0])
    direction = torch.randn_like(expected)
    torch.testing.assert_close(
        torch.autograd.grad(got, x, direction)[0], torch.autograd.grad(expected, y, direction)[0]
    )
    assert got.shape[2:] == layer.output_size == layer.window.output_size(size, padding_mode=modes)
    assert pickle.loads(pickle.dumps(layer)).padding == layer.padding
    direct = getattr(functional, f"conv{ndim}d")(
        x, kernel_bank, one_bias, stride, pairs, groups=2, padding_mode=modes
    )
    torch.testing.assert_close(direct, expected)


@pytest.mark.parametrize("sharing", SHARINGS, ids=str)
def test_the_contract_holds(sharing):
    for padding, mode in (
        (((1, 2), (2, 1)), ("zeros", "circular")),
        (((0, 1), (2, 1)), ("reflect", "replicate")),
        (((3, 0), (1, 2)), "zeros"),
    ):
        size = tuple(6 - sum(pair) + 2 for pair in padding)
        check_layer(
            nn.Conv2d(2, 4, 3, padding=padding, padding_mode=mode, sharing=sharing, input_size=size, groups=2)
        )


def test_copies_and_checkpoints():
    layer = nn.Conv2d(
        2, 3, 3, padding=((1, 2), (0, 1)), padding_mode=("zeros", "circular"), sharing=Tiled(2), input_size=7
    )
    assert repr(layer) == (
        "Conv2d(2, 3, kernel_size=(3, 3), stride=(1, 1), padding=((1, 2), (0, 1)), "
        "padding_mode=('zeros', 'circular'), sharing=Tiled(2), input_size=(7, 7))"
    )
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    x = torch.randn(2, 2, 7, 7)
    other = torch.load(file, weights_only=False)
    plain = torch.nn.Conv2d(2, 3, 3)
    for made in (copy.deepcopy(layer), other):
        assert torch.equal(made(x), layer(x))
        made.load_state_dict(plain.state_dict())
        expected = plain(pad(x, made.padding, made.padding_mode))
        torch.testing.assert_close(made(x), expected)


def test_equal_values_have_the_form_of_torch():
    layer = nn.Conv2d(1, 1, 3, padding=[[1, 1], [2, 2]], padding_mode=["circular", "circular"])
    assert (layer.padding, layer.padding_mode) == ((1, 2), "circular")
    assert ws.to_torch(layer).padding == (1, 2)
    assert nn.ConvTranspose2d(1, 1, 3, padding=((1, 1), (2, 2))).padding == (1, 2)
    assert (
        functional.conv_transpose1d(torch.ones(1, 1, 4), torch.ones(1, 1, 3), padding=((1, 1),)).shape[2] == 4
    )
    same = nn.Conv2d(1, 1, 4, padding="same", padding_mode=("zeros", "circular"))
    assert (same.padding, same.window.padding) == ("same", ((1, 2), (1, 2)))
    assert same(torch.zeros(1, 1, 5, 6)).shape == (1, 1, 5, 6)


@given(geometries(), st.sampled_from([Full(), Local(), Tiled(1), LowRank(1), "mapped"]))
def test_counts_equal_those_of_the_oracle(geometry, sharing):
    pairs, modes, kernel, stride, size = geometry
    ndim = len(size)
    if sharing == "mapped":
        out = Window(kernel, stride, pairs, ndim=ndim).output_size(size)
        labels = np.arange(np.prod(out)).reshape(out) // 2
        sharing = ws.Mapped(labels)
    layer = getattr(nn, f"Conv{ndim}d")(
        1, 1, kernel, stride, pairs, padding_mode=modes, sharing=sharing, input_size=size
    )
    table = reference.input_table(layer.window, size, modes)
    inside = table < np.prod(size)
    answer = ws.explain(layer)
    pairs_of_inputs = sum(len(set(row[keep].tolist())) for row, keep in zip(table, inside, strict=True))
    assert answer.counts["connections"] == pairs_of_inputs
    used = reference.assignment(sharing, layer.output_size, dict(layer.named_parameters())) != 0
    live = torch.einsum("pk,pt->kt", used.double(), inside.double()) > 0
    assert answer.counts["dead_taps"] == int((~live).sum())
    if not isinstance(sharing, ws.Mapped):  # whose labels are not in the text
        read = ws.explain(str(answer.layer), size)
        assert (str(read.layer), read.counts["connections"]) == (str(answer.layer), pairs_of_inputs)
    assert answer.to_json()
    if sharing.one_hot:
        assert len(Pattern.of(layer).edges) == int(inside.sum())


@pytest.mark.parametrize("sharing", [Full(), Tiled(2), LowRank(1)], ids=str)
def test_conversions(sharing):
    layer = nn.Conv2d(
        1, 2, 3, padding=((2, 0), (1, 3)), padding_mode=("zeros", "circular"), dtype=torch.float64,
        sharing=sharing, input_size=(5, 4),
    )  # fmt: skip
    x = torch.randn(2, 1, 5, 4, dtype=torch.float64)
    local = ws.relax(layer, Local(), input_size=(5, 4))
    assert (local.padding, local.padding_mode) == (layer.padding, layer.padding_mode)
    torch.testing.assert_close(local(x), layer(x))
    torch.testing.assert_close(ws.to_dense(local)(x.flatten(1)), layer(x).flatten(1))
    if sharing.one_hot:
        torch.testing.assert_close(ws.restrict(local, sharing).module(x), layer(x))
    assert ws.explain(layer).to_json()
    assert ws.summary(torch.nn.Sequential(layer), x).to_dict()["totals"]["unique"] == sum(
        p.numel() for p in layer.parameters()
    )


def test_a_page_without_explorer_shows_a_layer_with_a_mode_per_axis(tmp_path):
    layer = nn.Conv2d(1, 2, 3, padding=1, padding_mode=("zeros", "circular"))
    ws.explain(layer, 6).to_html(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert "padding_mode" in text
    assert "paddingMode" not in text


def test_a_circular_axis_is_equivariant_and_a_padded_one_is_not():
    globe = nn.Conv2d(2, 3, 3, padding=1, padding_mode=("zeros", "circular"))
    layer = nn.Conv2d(
        2, 3, 3, padding=1, padding_mode=("zeros", "circular"), sharing=ws.SharedAlong(1), input_size=6
    )
    for made in (globe, layer):
        assert prove(made, (2, 6, 6), translate((0, 2)))
        assert not prove(made, (2, 6, 6), translate((1, 0)))
        pattern = Pattern.of(made, 6)
        grid = np.arange(2 * 36).reshape(2, 6, 6)
        out = np.arange(3 * 36).reshape(3, 6, 6)
        for axis, holds in ((2, True), (1, False)):
            moves = [np.roll(numbers, -1, axis).ravel() for numbers in (grid, out)]
            assert pattern.is_equivariant(*moves).holds == holds
    assert prove_shift(globe, (1, 0), 6).cause == "border"
    trace = ws.trace_equivariance(torch.nn.Sequential(globe), torch.randn(1, 2, 12, 12))
    assert trace.rows


def test_blur_pools_have_a_mode_per_axis():
    layer = nn.BlurPool2d(4, stride=1, padding_mode=("zeros", "circular"))
    x = torch.randn(2, 3, 5, 6)
    taps = torch.tensor([1.0, 3, 3, 1]) / 8
    weight = torch.outer(taps, taps).expand(3, 1, 4, 4)
    expected = F.conv2d(pad(x, ((1, 2), (1, 2)), layer.padding_mode), weight, groups=3)
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize(
    ("act", "error", "message"),
    [
        (
            lambda: nn.Conv2d(1, 1, 3, padding_mode=("zeros", "mirror")),
            ArgumentError,
            "Conv2d: padding_mode[1] must be one of 'circular', 'reflect', 'replicate', 'zeros', got "
            "'mirror'.",
        ),
        (
            lambda: nn.Conv2d(1, 1, 3, padding_mode=("zeros",)),
            ArgumentError,
            "Conv2d: padding_mode must be one name, or one per axis for 2 spatial axes, got ('zeros',).",
        ),
        (
            lambda: nn.Conv2d(1, 1, 3, padding=((1, 2), (0,))),
            ArgumentError,
            "Conv2d: padding[1] must be an integer or a pair (before, after), got (0,).",
        ),
        (
            lambda: nn.Conv2d(1, 1, 3, padding=((1, 2), (0, -1))),
            ArgumentError,
            "Conv2d: padding[1] must be at least 0, got -1.",
        ),
        (
            lambda: nn.Conv2d(1, 1, 3, padding=((1, 2),)),
            ArgumentError,
            "Conv2d: padding must be an integer or a tuple of length 2 (one entry per spatial axis), got "
            "((1, 2),).",
        ),
        (
            lambda: nn.ConvTranspose2d(1, 1, 3, padding=((1, 2), (0, 0))),
            ArgumentError,
            "ConvTranspose2d: padding must be equal at both ends of each axis for a transposed layer, got "
            "((1, 2), (0, 0)); use less padding and crop the output.",
        ),
        (
            lambda: functional.conv_transpose1d(torch.ones(1, 1, 4), torch.ones(1, 1, 3), padding=((0, 1),)),
            ArgumentError,
            "conv_transpose1d: padding must be equal at both ends of each axis for a transposed layer, got "
            "((0, 1),); use less padding and crop the output.",
        ),
        (
            lambda: nn.ConvTranspose2d(1, 1, 3, padding_mode=("zeros", "circular")),
            ArgumentError,
            "ConvTranspose2d: padding_mode must be 'zeros' for a transposed layer, got "
            "('zeros', 'circular').",
        ),
        (
            lambda: ws.to_torch(nn.Conv2d(1, 1, 3, padding=((1, 2), (0, 0)))),
            ConversionError,
            "Conv2d: padding must be equal at both ends of each axis, and padding_mode the same on each "
            "axis, "
            "got padding=((1, 2), (0, 0)), padding_mode='zeros'; torch.nn has no such layer; pad "
            "the input with torch.nn.functional.pad instead.",
        ),
        (
            lambda: nn.TiedConvTranspose2d(nn.Conv2d(1, 1, 3, padding=((1, 2), (0, 0)))),
            ShapeError,
            "TiedConvTranspose2d: the padding of source must be equal at both ends of each axis, got "
            "padding=((1, 2), (0, 0)); use an untied ConvTranspose2d instead.",
        ),
        (
            lambda: nn.Conv2d(
                1, 1, 3, padding=3, padding_mode=("zeros", "circular"), sharing=Local(), input_size=2
            ),
            ShapeError,
            "Conv2d: padding_mode='circular' can pad an axis of length 2 by at most 2, got (3, 3) on axis "
            "1 from padding=((3, 3), (3, 3)); use less padding or another padding_mode.",
        ),
    ],
)  # fmt: skip
def test_errors(act, error, message):
    with pytest.raises(error) as caught:
        act()
    assert str(caught.value) == message
