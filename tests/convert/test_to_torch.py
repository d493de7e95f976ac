"""`to_torch` returns an equal `torch.nn` layer, and refuses layers that are not fully shared."""

import pytest
import torch

from weightshare import Full, Local, Tiled, nn, relax, restrict, to_torch
from weightshare.errors import ConversionError


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("mode", ["zeros", "circular"])
def test_full_sharing_becomes_the_torch_convolution(ndim, mode):
    layer = getattr(nn, f"Conv{ndim}d")(4, 6, 3, 2, 1, 2, 2, padding_mode=mode).eval()
    layer.bias.requires_grad_(False)
    plain = to_torch(layer)
    x = torch.randn(2, 4, *(7,) * ndim)
    assert type(plain) is getattr(torch.nn, f"Conv{ndim}d")
    assert torch.equal(plain(x), layer(x))
    assert plain.weight.data_ptr() != layer.weight.data_ptr()
    assert (plain.training, plain.weight.requires_grad, plain.bias.requires_grad) == (False, True, False)


def test_a_round_trip_restores_the_layer():
    plain = torch.nn.Conv2d(2, 3, 3, padding="same", bias=False, dtype=torch.float64)
    back = to_torch(restrict(relax(plain, Local(), input_size=5), Full()).module)
    assert repr(back) == repr(plain)
    torch.testing.assert_close(back.weight, plain.weight, rtol=1e-15, atol=1e-15)


ERRORS = [
    (
        nn.Conv2d(2, 3, 3, sharing=Tiled(2), input_size=6),
        "Conv2d: kernel and bias must have Full() sharing, got Tiled(2) with bias sharing Tiled(2); use "
        "restrict(layer, Full()) for the nearest such layer.",
    ),
    (
        nn.Conv1d(2, 3, 3, bias_sharing=Local(), input_size=6),
        "Conv1d: kernel and bias must have Full() sharing, got Full() with bias sharing Local(); use "
        "restrict(layer, Full()) for the nearest such layer.",
    ),
]


@pytest.mark.parametrize(("layer", "text"), ERRORS)
def test_other_sharings_are_refused(layer, text):
    with pytest.raises(ConversionError) as error:
        to_torch(layer)
    assert str(error.value) == text


def test_transposed_layers_are_converted():
    layer = nn.ConvTranspose2d(4, 6, 3, 2, padding=1, output_padding=1, groups=2)
    plain = to_torch(layer)
    x = torch.randn(2, 4, 5, 5)
    assert type(plain) is torch.nn.ConvTranspose2d
    assert torch.equal(plain(x), layer(x))
