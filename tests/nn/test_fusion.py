"""Utilities of torch that change a weight: batch norm fusion, norms of weights and wrong shapes."""

import copy
import re

import pytest
import torch
import torch.fx.experimental.optimization
from torch.func import functional_call
from torch.nn.utils import fuse_conv_bn_eval, parametrizations

from tests.helpers.sharings import SHARINGS
from weightshare import Full, Local, LowRank, Pattern, Regional, Tiled, fuse_batch_norm, nn
from weightshare.errors import ArgumentError, ConversionError, ShapeError

SIZES = {False: 8, True: 6}  # both have 6 x 6 positions with a kernel of 3


def build(sharing, transposed=False, channels=(4, 6), **arguments):
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    made = kind(*channels, 3, sharing=sharing, input_size=SIZES[transposed], **arguments).double().eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_()
    return made


def batch_norm(channels, **arguments):
    norm = torch.nn.BatchNorm2d(channels, **arguments).double().eval()
    for value in (*norm.parameters(), norm.running_mean, norm.running_var):
        torch.nn.init.uniform_(value, 0.5, 2)
    return norm


@pytest.mark.parametrize("bias", [{}, {"bias": False}, {"bias_sharing": Local()}], ids=str)
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("sharing", SHARINGS, ids=str)
def test_fused_batch_norms(sharing, transposed, groups, bias):
    for affine in (True, False):
        layer, norm = build(sharing, transposed, groups=groups, **bias), batch_norm(6, affine=affine)
        before = copy.deepcopy(layer.state_dict())
        fused = fuse_batch_norm(layer, norm)
        x = torch.randn(2, 4, *layer.input_size, dtype=torch.float64)
        torch.testing.assert_close(fused(x), norm(layer(x)))
        assert type(fused) is type(layer)
        assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())
        other = build(sharing, transposed, groups=groups, **{**bias, "bias": True})
        other.load_state_dict(fused.state_dict())
        assert torch.equal(other(x), fused(x))


def test_a_layer_for_any_size_still_takes_any_size():
    layer, norm = build(Full(), bias=False, bias_sharing=Local()), batch_norm(6)
    x = torch.randn(2, 4, 9, 9, dtype=torch.float64)
    torch.testing.assert_close(fuse_batch_norm(layer, norm)(x), norm(layer(x)))


@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("sharing", [Regional((3, 2)), LowRank(5), Local(), Tiled(2)], ids=str)
def test_torch_does_not_scale_banks_as_if_they_were_channels(sharing, transpose):
    """The first two have as many banks as channels, so the shapes would agree."""
    for transposed in (False, True):
        layer = build(sharing, transposed, channels=(6, 6))
        weight = layer.weight.clone()
        kinds = (ConversionError, RuntimeError)  # the latter is raised by torch if the shapes differ
        with pytest.raises(kinds) as caught:
            fuse_conv_bn_eval(layer, batch_norm(6), transpose)
        if layer.weight.shape[int(transpose)] == 6:
            text = r"Conv.*: torch.nn.utils.fuse_conv_bn_eval needs output channels .*fuse_batch_norm\("
            assert re.search(text, str(caught.value))
        assert torch.equal(layer.weight, weight)


def test_subclasses_that_set_attributes_are_protected():
    class Logged(nn.Conv2d):
        def __setattr__(self, name, value):
            super().__setattr__(name, value)

    layer = Logged(6, 6, 3, sharing=Regional((3, 2)), input_size=8).double().eval()
    with pytest.raises(ConversionError, match="needs output channels on axis 0"):
        fuse_conv_bn_eval(layer, batch_norm(6))
    layer.weight = torch.nn.Parameter(torch.zeros_like(layer.weight))  # anyone else may set a weight


def test_other_fusions_of_torch_leave_banks_alone():
    model = torch.nn.Sequential(build(Regional((3, 2)), channels=(6, 6)), batch_norm(6))
    x = torch.randn(2, 6, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(torch.fx.experimental.optimization.fuse(model)(x), model(x))
    with pytest.raises(AssertionError, match="did not find fuser method"):
        torch.ao.quantization.fuse_modules(model, [["0", "1"]])


def test_torch_fuses_full_layers():
    for bias in ({}, {"bias": False}, {"bias_sharing": Local()}):
        layer, norm = build(Full(), **bias), batch_norm(6)
        x = torch.randn(2, 4, 8, 8, dtype=torch.float64)
        torch.testing.assert_close(fuse_conv_bn_eval(layer, norm)(x), norm(layer(x)))


def test_torch_does_not_fuse_a_pattern_layer():
    layer = nn.SharedLinear(Pattern.of(torch.nn.Linear(2, 3))).eval()
    with pytest.raises((ShapeError, RuntimeError)):
        torch.nn.utils.fuse_linear_bn_eval(layer, torch.nn.BatchNorm1d(3).eval())(torch.zeros(1, 2))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            lambda a, b: (torch.nn.Conv2d(4, 6, 3), b),
            ArgumentError,
            "fuse_batch_norm: layer must be a convolution or transposed convolution of weightshare.nn, got "
            "Conv2d; use torch.nn.utils.fuse_conv_bn_eval for torch.nn layers.",
        ),
        (
            lambda a, b: (a, torch.nn.GroupNorm(1, 6)),
            ArgumentError,
            "fuse_batch_norm: norm must be a BatchNorm of torch.nn, got GroupNorm.",
        ),
        (
            lambda a, b: (a, batch_norm(4)),
            ArgumentError,
            "fuse_batch_norm: norm must have the 6 output channels of the layer, got num_features=4.",
        ),
        (
            lambda a, b: (a, torch.nn.BatchNorm2d(6, track_running_stats=False)),
            ArgumentError,
            "fuse_batch_norm: norm must have running statistics, got track_running_stats=False.",
        ),
        (
            lambda a, b: (a, b.train()),
            ConversionError,
            "fuse_batch_norm: norm must be in evaluation mode, got training mode; call norm.eval().",
        ),
        (
            lambda a, b: (parametrizations.weight_norm(a), b),
            ConversionError,
            "fuse_batch_norm: weight and bias must be parameters of the layer, got one that is tied or "
            "computed; make them parameters first.",
        ),
    ],
)
def test_errors(change, error, message):
    layer, norm = change(build(Tiled(2)), batch_norm(6))
    with pytest.raises(error) as caught:
        fuse_batch_norm(layer, norm)
    assert str(caught.value) == message


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("sharing", SHARINGS, ids=str)
def test_norms_of_fresh_weights(sharing, transposed, dtype):
    """No parameter is zero at first, not even the corrections of `LowRank`, also from a plain checkpoint."""
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    plain = (torch.nn.ConvTranspose2d if transposed else torch.nn.Conv2d)(4, 6, 3)
    for load in (False, True):
        layer = kind(4, 6, 3, sharing=sharing, input_size=SIZES[transposed], dtype=dtype)
        if load:
            layer.load_state_dict(plain.state_dict())
        x = torch.randn(2, 4, *layer.input_size, dtype=dtype)
        before = layer(x)
        for name, _ in list(layer.named_parameters()):
            if layer.get_parameter(name).dim() > 1 and layer.get_parameter(name).numel():
                parametrizations.weight_norm(layer, name)
        after = layer(x)
        torch.testing.assert_close(
            after, before, **({"rtol": 0.02, "atol": 0.02} if dtype.itemsize < 4 else {})
        )
        after.sum().backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in layer.parameters())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64], ids=str)
def test_the_corrections_of_a_fresh_layer_have_no_effect(dtype):
    layer = nn.Conv2d(4, 6, 3, sharing=LowRank(2), input_size=8, dtype=dtype)
    kernels = layer.assignment() @ layer.kernels().flatten(1)
    assert torch.equal(kernels, layer.kernels()[:1].flatten(1).expand(36, -1))


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("sharing", SHARINGS, ids=str)
def test_parameters_of_another_sharing_are_errors(sharing, transposed):
    layer = build(sharing, transposed, bias_sharing=Tiled(3))
    x = torch.randn(2, 4, *layer.input_size, dtype=torch.float64)
    for other in SHARINGS:
        given = dict(build(other, transposed).named_parameters())
        weight = given["weight"]
        if weight.shape == layer.weight.shape:
            continue
        size = "" if sharing == Full() else " on 6 x 6 positions"
        with pytest.raises(ShapeError) as caught:
            functional_call(layer, {"weight": weight}, (x,))
        assert str(caught.value) == (
            f"{type(layer).__name__}: weight must be {list(layer.weight.shape)} for sharing={sharing!r}"
            f"{size}, got {list(weight.shape)}; use parameters of a layer with the same arguments."
        )
    message = r"bias must be \[9, 6\] for bias_sharing=Tiled\(3\) on \d x \d positions, got \[6\]"
    with pytest.raises(ShapeError, match=message):
        functional_call(layer, {"bias": torch.zeros(6)}, (x,))


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(
    ("sharing", "name", "shape"),
    [(LowRank(2), "coefficients_1", [2, 7]), (LowRank(2, "free"), "coefficients", [1, 6, 6])],
    ids=str,
)
def test_coefficients_of_another_shape_are_errors(transposed, sharing, name, shape):
    layer = build(sharing, transposed)
    setattr(layer, name, torch.nn.Parameter(torch.zeros(shape, dtype=torch.float64)))
    with pytest.raises(ShapeError, match=rf"{name} must be .* for sharing=LowRank.*, got .*{shape[-1]}\]"):
        layer(torch.zeros(1, 4, *layer.input_size, dtype=torch.float64))
