"""Traces of shifted crops, quarter turns and flips agree with brute force."""

import json

import pytest
import torch
from torch import nn

import weightshare as ws
from tests.helpers.networks import X, picture
from weightshare.errors import ArgumentError, ShapeError
from weightshare.symmetry import flip, permute_channels, rotate90, trace_equivariance, translate


def crop_borders(model, shift, size=24):
    """Compare two crops of one scene by brute force; return the widths of the border for each axis."""
    scene = picture(1, 1, size + 8, size + 8)
    one = scene[..., 4 : 4 + size, 4 : 4 + size]
    other = scene[..., 4 - shift[0] : 4 - shift[0] + size, 4 - shift[1] : 4 - shift[1] + size]
    with torch.no_grad():
        a, b = model(one), model(other)
    a, b = a[..., : a.shape[-2] - shift[0], : a.shape[-1] - shift[1]], b[..., shift[0] :, shift[1] :]
    exact = ((a - b).abs().amax((0, 1)) < 1e-12).nonzero()
    return tuple(
        (int(exact[:, axis].min()), n - 1 - int(exact[:, axis].max())) for axis, n in enumerate(a.shape[2:])
    )


@pytest.mark.parametrize(
    "layers",
    [
        [nn.Conv2d(1, 2, 3, padding=1)],
        [nn.Conv2d(1, 2, 5)],
        [nn.Conv2d(1, 2, 3, padding=1), nn.Tanh(), nn.Conv2d(2, 2, (5, 1), padding=(2, 0))],
        [nn.ZeroPad2d((4, 0, 0, 0)), nn.Conv2d(1, 2, (1, 5))],
    ],
    ids=["padded", "valid", "two layers", "causal"],
)
def test_the_border_of_moved_crops(layers):
    model = nn.Sequential(*layers).double().eval()
    trace = trace_equivariance(model, picture(1, 1, 24, 24), translate((2, 3), "crop"))
    assert trace.is_exact
    assert (trace.borders or ((0, 0), (0, 0))) == crop_borders(model, (2, 3))
    assert trace.first_loss is None


def test_border_zero_and_no_interior_read_differently():
    valid = trace_equivariance(nn.Conv2d(3, 2, 5).double().eval(), X, translate((1, 1), "crop"))
    assert (valid.borders, valid.verdict) == ((), "translate((1, 1), 'crop') is preserved end to end")
    table = nn.Sequential(nn.Conv2d(3, 2, 3), ws.nn.LocallyConnected2d(2, 2, 3, input_size=14)).double()
    lost = trace_equivariance(table.eval(), X, translate((1, 1), "crop"))
    assert (lost.borders, lost.is_exact, lost.first_loss) == (None, False, "1")
    assert lost.verdict.startswith("equivariance to translate((1, 1), 'crop') is first lost at '1'; relative")


def test_a_margin_of_zeros_does_not_hide_a_border():
    conv = nn.Conv2d(1, 2, 3, padding=1, bias=False).double().eval()
    x = nn.functional.pad(picture(1, 1, 8, 8), (4, 4, 4, 4))
    trace = trace_equivariance(conv, x, translate((1, 1), "crop"))
    assert (trace.borders, trace.rows[0].borders) == (((1, 1), (1, 1)),) * 2
    assert "(1, 1), (1, 1)" in str(trace)


def test_a_constant_picture_does_not_prove_a_symmetry():
    conv = nn.Conv2d(1, 2, 3, padding=1, padding_mode="circular").double().eval()
    trace = trace_equivariance(conv, torch.ones(1, 1, 8, 8).double(), flip(0))
    assert (trace.is_exact, trace.error < 1e-12) == (False, True)
    assert trace.verdict == "flip(0) is preserved on this input, but on others it is first lost at 'Conv2d'"


def test_crops_of_half_a_position_are_not_defined():
    trace = trace_equivariance(nn.MaxPool2d(2), X, translate((1, 1), "crop"))
    assert (trace.is_exact, trace.error, trace.first_loss) == (None, None, None)
    assert trace.verdict.startswith("it is unknown whether translate((1, 1), 'crop') is preserved")


def symmetric(inputs, outputs, kernel=3):
    """Return a convolution whose kernels have the symmetry of the square."""
    layer = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2).double()
    weight = layer.weight.data
    weight = sum(weight.rot90(turns, (2, 3)) for turns in range(4))
    layer.weight.data = weight + weight.flip(-1)
    return layer


TRANSFORMS = [rotate90(), rotate90(2), rotate90(-1), flip(0), flip(-1)]


@pytest.mark.parametrize("transform", TRANSFORMS, ids=str)
def test_turns_and_flips_of_maps_tokens_and_scores(transform):
    layers = [symmetric(3, 4), nn.ReLU(), nn.MaxPool2d(2), symmetric(4, 4)]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)).double().eval()
    trace = trace_equivariance(model, X, transform)
    assert (trace.is_exact, trace.first_loss, trace.error < 1e-12) == (True, None, True)
    attention = nn.MultiheadAttention(3, 1, batch_first=True).double().eval()

    def tokens(x):
        t = x.flatten(2).mT
        return attention(t, t, t)[0].mT.unflatten(2, x.shape[2:])

    assert trace_equivariance(tokens, picture(1, 3, 6, 6), transform).is_exact
    plain = nn.Sequential(symmetric(3, 4), nn.Conv2d(4, 4, 3, padding=1)).double().eval()
    lost = trace_equivariance(plain, X, transform)
    assert (lost.is_exact, lost.first_loss) == (False, "1")
    with torch.no_grad():
        y, z = transform(plain(X)), plain(transform(X))
    assert lost.error == pytest.approx(((z - y).norm() / y.norm()).item())
    assert lost.rows[0].local < 1e-12 < lost.rows[1].local


def test_a_stride_breaks_quarter_turns_of_even_maps():
    model = nn.Sequential(symmetric(3, 4), nn.MaxPool2d(3, 2, 1)).double().eval()
    assert trace_equivariance(model, X, rotate90()).first_loss == "1"
    assert trace_equivariance(model, picture(1, 3, 15, 15), rotate90()).is_exact


def test_maps_that_are_not_square():
    model = nn.Sequential(symmetric(3, 4), nn.MaxPool2d(2)).double().eval()
    trace = trace_equivariance(model, picture(1, 3, 8, 12), rotate90())
    assert (trace.is_exact, trace.error < 1e-12) == (True, True)


def test_weights_in_float32_are_compared_up_to_their_own_precision():
    model = nn.Sequential(symmetric(3, 4).float(), nn.ReLU()).eval()
    trace = trace_equivariance(model, X.float(), rotate90())
    assert (trace.is_exact, trace.floor) == (True, 1e-5)


def test_text_and_data():
    trace = trace_equivariance(nn.Conv2d(3, 2, 3, padding=1).double().eval(), X, translate((1, 2), "crop"))
    lines = str(trace).splitlines()
    assert lines[0] == (
        "translate((1, 2), 'crop') is preserved in the interior; "
        "border widths (low, high): (1, 1) along axis 0, (1, 1) along axis 1"
    )
    assert lines[-1].split()[-4:] == ["(1,", "1),", "(1,", "1)"]
    data = json.loads(json.dumps(trace.to_dict(), allow_nan=False))
    assert (data["verdict"], data["rows"][0]["borders"]) == (lines[0], [[1, 1], [1, 1]])


def test_other_transforms_raise_errors():
    model = nn.Conv2d(3, 3, 1).double().eval()
    with pytest.raises(ArgumentError, match=r"the transform must be a shift, translate\(shift, \"crop\"\)"):
        trace_equivariance(model, X, permute_channels([1, 2, 0]))
    with pytest.raises(ArgumentError, match="the transform must be a shift"):
        trace_equivariance(model, X, translate((0.5, 0), "fractional"))
    with pytest.raises(ArgumentError, match="shift must not be a multiple of the input size"):
        trace_equivariance(model, X, translate((0, 0), "crop"))
    for shift in (16, 0), (1, -20):
        with pytest.raises(ArgumentError, match=r"crops must overlap: shift .* less than .* \(16, 16\), got"):
            trace_equivariance(model, X, translate(shift, "crop"))
    with pytest.raises(ArgumentError, match="axis must be one of the 1 spatial axis"):
        trace_equivariance(nn.Identity(), picture(1, 3, 9), flip(1))
    with pytest.raises(ShapeError, match="the input must have 2 spatial axes after its channels"):
        trace_equivariance(nn.Identity(), picture(1, 3, 9), rotate90())
    circular = trace_equivariance(model, X, translate((1, 0)))
    assert circular.shift == (1, 0)
