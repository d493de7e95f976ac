"""The functions compute the same as the layers, for any geometry and sharing, and check their arguments."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings

from weightshare import Local, LowRank, Regional, Tiled, functional, nn
from weightshare.errors import ArgumentError, ShapeError, SharingError
from weightshare.testing.strategies import layers, transposed_layers

slow = settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
X, W = torch.zeros(2, 3, 8, 8), torch.zeros(4, 5, 3, 3, 3)


def same(got, expected):
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)


@slow
@given(layers(any_padding=True))
def test_convolutions_equal_the_layers(layer):
    x = torch.randn(
        2, layer.in_channels, *(layer.input_size or (7,) * layer.window.ndim), dtype=torch.float64
    )
    coefficients = [getattr(layer, name) for name in layer._coefficient_names]
    function = getattr(functional, f"conv{layer.window.ndim}d")
    geometry = layer.stride, layer.padding, layer.dilation, layer.groups
    options = {
        "sharing": layer.sharing,
        "bias_sharing": layer.bias_sharing,
        "padding_mode": layer.padding_mode,
    }
    options["coefficients"] = coefficients or None
    same(function(x, layer.weight, layer.bias, *geometry, **options), layer(x))
    same(function(x[0], layer.weight, layer.bias, *geometry, **options), layer(x[0]))


@slow
@given(transposed_layers())
def test_transposed_convolutions_equal_the_layers(layer):
    x = torch.randn(
        2, layer.in_channels, *(layer.input_size or (5,) * layer.window.ndim), dtype=torch.float64
    )
    coefficients = [getattr(layer, name) for name in layer._coefficient_names]
    function = getattr(functional, f"conv_transpose{layer.window.ndim}d")
    geometry = layer.stride, layer.padding, layer.output_padding, layer.groups, layer.dilation
    options = {
        "sharing": layer.sharing,
        "bias_sharing": layer.bias_sharing,
        "coefficients": coefficients or None,
    }
    same(function(x, layer.weight, layer.bias, *geometry, **options), layer(x))
    same(function(x[0], layer.weight, layer.bias, *geometry, **options), layer(x[0]))


@pytest.mark.parametrize("padding", [0, 1, (1, 2), "same", "valid"])
def test_full_sharing_equals_the_function_of_torch(padding):
    x, w, b = torch.randn(2, 4, 7, 6), torch.randn(6, 2, 3, 3), torch.randn(6)
    same(functional.conv2d(x, w, b, 1, padding, 2, 2), F.conv2d(x, w, b, 1, padding, 2, 2))


def test_a_bias_with_another_sharing_and_free_coefficients():
    x, w = torch.randn(1, 2, 5, 5).double(), torch.randn(3, 2, 3, 3).double()
    bias = torch.randn(9, 3).double()
    got = functional.conv2d(x, w, bias, bias_sharing=Local())
    same(got, F.conv2d(x, w) + bias.T.view(3, 3, 3))
    coefficients = torch.randn(2, 3, 3).double()
    banks = torch.randn(3, 3, 2, 3, 3).double()
    got = functional.conv2d(x, banks, sharing=LowRank(2, "free"), coefficients=coefficients)
    parts = [F.conv2d(x, bank) for bank in banks]
    same(got, parts[0] + coefficients[0] * parts[1] + coefficients[1] * parts[2])


def test_gradients_reach_weight_bias_and_coefficients():
    layer = nn.Conv1d(2, 3, 3, sharing=LowRank(1), input_size=6).double()
    terms = [getattr(layer, name).detach().requires_grad_() for name in layer._coefficient_names]
    weight, bias = layer.weight.detach().requires_grad_(), layer.bias.detach().requires_grad_()
    x = torch.randn(2, 2, 6, dtype=torch.float64, requires_grad=True)

    def call(x, weight, bias, *terms):
        return functional.conv1d(x, weight, bias, sharing=layer.sharing, coefficients=terms)

    assert torch.autograd.gradcheck(call, (x, weight, bias, *terms))


ERRORS = [
    (lambda f: f.conv2d([1], W[0]), ArgumentError, "conv2d: input must be a torch.Tensor, got list."),
    (
        lambda f: f.conv2d(X, W[0], sharing=Regional(2)),
        ShapeError,
        "conv2d: weight must have 5 axes for sharing=Regional(2), got [5, 3, 3, 3].",
    ),
    (
        lambda f: f.conv2d(X, W, padding=1, sharing=Regional(3)),
        ShapeError,
        "conv2d: weight must be [9, 5, 3, 3, 3] for sharing=Regional(3) on 64 positions, got [4, ",
    ),
    (
        lambda f: f.conv2d(X[:, :2], W, sharing=Regional(2)),
        ShapeError,
        "conv2d: input must be [N, 3, *size] or [3, *size] with 2 spatial axes, got [2, 2, 8, 8], which has "
        "2 channels on axis 1; in_channels is 3.",
    ),
    (
        lambda f: f.conv2d(X, W, sharing=Tiled(9)),
        SharingError,
        "conv2d: sharing=Tiled(9) needs an output of at least 9 x 9",
    ),
    (
        lambda f: f.conv2d(X, W[0], torch.zeros(4)),
        ShapeError,
        "conv2d: bias must be [5] for bias_sharing=Full(), got [4].",
    ),
    (
        lambda f: f.conv2d(X.double(), W, sharing=Regional(2)),
        ShapeError,
        "conv2d: input must have the dtype of the weights, torch.float32, got torch.float64; "
        "convert one of them with .to().",
    ),
    (
        lambda f: f.conv2d(X, W, sharing=LowRank(3)),
        ShapeError,
        "conv2d: coefficients must be [3, 6, 6] or a sequence of [3, 6], [3, 6], got none.",
    ),
    (
        lambda f: f.conv2d(X, W, sharing=Regional(2), coefficients=X),
        ArgumentError,
        "conv2d: coefficients must be None unless sharing is LowRank, got Regional(2).",
    ),
    (
        lambda f: f.conv2d(X, W[0, :, :1], groups=2),
        ArgumentError,
        "conv2d: groups must divide the 5 channels of the weight, got 2.",
    ),
    (
        lambda f: f.conv2d(X, W[0], sharing="local"),
        ArgumentError,
        "conv2d: sharing must be a sharing such as Tiled(2), got 'local'; convert text with parse_sharing().",
    ),
    (
        lambda f: f.conv_transpose2d(X[:, :1], W[0], stride=2, output_padding=2),
        ArgumentError,
        "conv_transpose2d: output_padding must be smaller than stride or dilation, got (2, 2) with "
        "stride=(2, 2), dilation=(1, 1).",
    ),
]


@pytest.mark.parametrize(("call", "kind", "text"), ERRORS, ids=[text for *_, text in ERRORS])
def test_errors(call, kind, text):
    with pytest.raises(kind) as error:
        call(functional)
    assert str(error.value).startswith(text)
