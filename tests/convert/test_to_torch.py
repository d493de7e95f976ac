"""Back to torch's own layers."""

import pytest
import torch

from weightshare import Full, Local, Tiled, nn, relax, restrict, to_torch
from weightshare.errors import ConversionError


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("mode", ["zeros", "circular"])
def test_full_is_torchs_convolution(ndim, mode):
    ours = getattr(nn, f"Conv{ndim}d")(4, 6, 3, 2, 1, 2, 2, padding_mode=mode).eval()
    ours.bias.requires_grad_(False)
    plain = to_torch(ours)
    x = torch.randn(2, 4, *(7,) * ndim)
    assert type(plain) is getattr(torch.nn, f"Conv{ndim}d")
    assert torch.equal(plain(x), ours(x))
    assert plain.weight.data_ptr() != ours.weight.data_ptr()
    assert (plain.training, plain.weight.requires_grad, plain.bias.requires_grad) == (False, True, False)


def test_there_and_back():
    plain = torch.nn.Conv2d(2, 3, 3, padding="same", bias=False, dtype=torch.float64)
    back = to_torch(restrict(relax(plain, Local(), input_size=5), Full()).module)
    assert repr(back) == repr(plain)
    torch.testing.assert_close(back.weight, plain.weight, rtol=1e-15, atol=1e-15)


ERRORS = [
    (
        nn.Conv2d(2, 3, 3, sharing=Tiled(2), input_size=6),
        "Conv2d: to be torch's own convolution, kernel and bias must both be shared by Full(), got Tiled(2) "
        "with bias Tiled(2); use restrict(layer, Full()), which gives the nearest one.",
    ),
    (
        nn.Conv1d(2, 3, 3, bias_sharing=Local(), input_size=6),
        "Conv1d: to be torch's own convolution, kernel and bias must both be shared by Full(), got Full() "
        "with bias Local(); use restrict(layer, Full()), which gives the nearest one.",
    ),
]


@pytest.mark.parametrize(("layer", "text"), ERRORS)
def test_other_sharings_are_refused(layer, text):
    with pytest.raises(ConversionError) as error:
        to_torch(layer)
    assert str(error.value) == text


def test_transposed_layers_too():
    ours = nn.ConvTranspose2d(4, 6, 3, 2, padding=1, output_padding=1, groups=2)
    plain = to_torch(ours)
    x = torch.randn(2, 4, 5, 5)
    assert type(plain) is torch.nn.ConvTranspose2d
    assert torch.equal(plain(x), ours(x))
