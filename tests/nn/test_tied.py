"""Tied decoders are exact adjoints, contribute to the gradient of the encoder, and report invalid sources."""

import pytest
import torch
from torch import nn as torch_nn

import weightshare as ws
from tests.helpers.sharings import SHARINGS
from weightshare.errors import ArgumentError, ShapeError


@pytest.mark.parametrize("sharing", SHARINGS, ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_the_decoder_is_the_adjoint_of_the_convolution(sharing, bias):
    """<conv(x), y> = <x, decoder(y)>, also if the stride does not divide the input size."""
    torch.manual_seed(0)
    arguments = {"stride": 2, "padding": 1, "groups": 2, "dtype": torch.float64}
    encoder = ws.nn.Conv2d(4, 6, 3, bias=False, sharing=sharing, input_size=12, **arguments)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.normal_()
    decoder = ws.nn.TiedConvTranspose2d(encoder, bias=bias)
    if bias:
        torch_nn.init.zeros_(decoder.bias)
    x = torch.randn(2, 4, 12, 12, dtype=torch.float64)
    y = torch.randn(2, 6, 6, 6, dtype=torch.float64)
    back = decoder(y)
    assert back.shape == x.shape
    torch.testing.assert_close((encoder(x) * y).sum(), (x * back).sum())
    assert [name for name, _ in decoder.named_parameters()] == ["bias"] * bias
    (back.sum() + encoder(x).sum()).backward()
    assert encoder.weight.grad is not None


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_convolutions_of_torch(ndim):
    encoder = getattr(torch_nn, f"Conv{ndim}d")(2, 3, 3, padding="same", dilation=2)
    decoder = getattr(ws.nn, f"TiedConvTranspose{ndim}d")(encoder)
    x = torch.randn(1, 2, *(7,) * ndim)
    assert decoder(encoder(x)).shape == x.shape
    plain = getattr(torch.nn.functional, f"conv_transpose{ndim}d")
    expected = plain(encoder(x), encoder.weight, decoder.bias, padding=2, dilation=2)
    torch.testing.assert_close(decoder(encoder(x)), expected)


def test_linear_and_embedding():
    encoder = torch_nn.Linear(5, 3)
    decoder = ws.nn.TiedLinear(encoder, bias=False)
    x = torch.randn(2, 3)
    assert torch.equal(decoder(x), x @ encoder.weight)
    head = ws.nn.TiedLinear(torch_nn.Embedding(7, 3))
    assert (head(x).shape, head.weight.shape) == ((2, 7), (7, 3))
    assert isinstance(decoder, torch_nn.Linear)
    assert not any(p.is_meta for p in head.parameters())


def test_the_weight_receives_the_gradients_of_both_uses():
    encoder = torch_nn.Linear(4, 3, dtype=torch.float64)
    model = torch_nn.Sequential(encoder, ws.nn.TiedLinear(encoder))
    x = torch.randn(2, 4, dtype=torch.float64)

    def loss(weight):
        hidden = torch.nn.functional.linear(x, weight, encoder.bias)
        return torch.nn.functional.linear(hidden, weight.t(), model[1].bias).square().sum()

    model(x).square().sum().backward()
    weight = encoder.weight.detach().clone().requires_grad_()
    loss(weight).backward()
    torch.testing.assert_close(encoder.weight.grad, weight.grad)
    assert torch.autograd.gradcheck(loss, weight)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: ws.nn.TiedLinear(torch_nn.Conv2d(1, 1, 1)),
            ArgumentError,
            "must be a Linear or an Embedding, got Conv2d",
        ),
        (
            lambda: ws.nn.TiedConvTranspose2d(torch_nn.Conv1d(1, 1, 1)),
            ArgumentError,
            "source must be a Conv2d of torch.nn or weightshare.nn, got Conv1d",
        ),
        (
            lambda: ws.nn.TiedConvTranspose2d(torch_nn.ConvTranspose2d(1, 1, 1)),
            ArgumentError,
            "got ConvTranspose2d",
        ),
        (
            lambda: ws.nn.TiedConvTranspose2d(torch_nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular")),
            ArgumentError,
            "source must use padding_mode='zeros', got 'circular'",
        ),
        (
            lambda: ws.nn.TiedConvTranspose2d(torch_nn.Conv2d(1, 1, 2, padding="same")),
            ShapeError,
            "padding of source must be equal at both ends of each axis",
        ),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("sharing", [ws.Full(), ws.Tiled(2), ws.LowRank(2)], ids=str)
def test_reset_parameters_initializes_untied_parameters_only(sharing):
    encoder = ws.nn.Conv2d(2, 3, 3, sharing=sharing, input_size=6)
    model = torch_nn.Sequential(encoder, ws.nn.TiedConvTranspose2d(encoder))
    ws.untie_weights(model, "1.weight")
    before = {name: p.detach().clone() for name, p in encoder.named_parameters()}
    own = model[1].weight
    with torch.no_grad():
        own.fill_(torch.nan)
    model[1].reset_parameters()
    assert own.isfinite().all()
    assert own.std() > 0
    assert all(torch.equal(p, before[name]) for name, p in encoder.named_parameters())
    for name in encoder._coefficient_names:
        ws.untie_weights(model, f"1.{name}")
        with torch.no_grad():
            getattr(model[1], name).fill_(torch.nan)
    model[1].reset_parameters()
    assert all(p.isfinite().all() for p in model[1].parameters())
    assert all(torch.equal(p, before[name]) for name, p in encoder.named_parameters())


def test_reset_parameters_initializes_an_untied_linear_layer():
    encoder = torch_nn.Linear(5, 3)
    model = torch_nn.Sequential(encoder, ws.nn.TiedLinear(encoder))
    ws.untie_weights(model, "1.weight")
    with torch.no_grad():
        model[1].weight.fill_(torch.nan)
    model[1].reset_parameters()
    assert model[1].weight.isfinite().all()
