"""The stride of a model is that of its operations, whatever the sizes of its maps."""

import random
from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import weightshare as ws
from weightshare.errors import EquivarianceError
from weightshare.symmetry import assert_equivariant, equivariance_error, prove, translate
from weightshare.symmetry.strides import find_strides


class Lambda(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


KERNEL = torch.randn(2, 2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

MODELS = [
    (nn.Conv1d(2, 2, 7, stride=2), 16, 2),
    (nn.Conv1d(2, 2, 5, stride=3), 10, 3),
    (nn.Conv1d(2, 2, 1, stride=2, padding=8), 16, 2),  # from 16 positions to 16
    (nn.MaxPool1d(3, 2), 8, 2),
    (nn.AvgPool1d(3, 2, padding=1), 9, 2),
    (nn.ConvTranspose1d(2, 2, 5, stride=2), 7, Fraction(1, 2)),
    (nn.ConvTranspose1d(2, 2, 4, stride=3, padding=1, dilation=2), 9, Fraction(1, 3)),
    (nn.Sequential(nn.Conv1d(2, 2, 7, stride=2), nn.MaxPool1d(3, 2)), 40, 4),
    (nn.Sequential(nn.Conv1d(2, 2, 4, stride=3), nn.Upsample(scale_factor=2)), 25, Fraction(3, 2)),
    (Lambda(lambda x: F.conv1d(x, KERNEL, stride=2)), 14, 2),
    (Lambda(lambda x: x[..., 1::3]), 20, 3),
    (Lambda(lambda x: x.unfold(-1, 5, 2).mean(-1)), 37, 2),
    (Lambda(lambda x: torch.from_numpy(x.numpy()[..., ::2].copy())), 21, 2),
    (nn.Conv1d(2, 2, 3, stride=3, dilation=2, padding_mode="reflect"), 20, 3),
    (ws.nn.Conv1d(2, 2, 5, stride=2, sharing=ws.Local(), input_size=13), 13, 2),
    (nn.Sequential(nn.GroupNorm(1, 2), nn.Conv1d(2, 2, 7, stride=2)), 16, 2),  # every output sees every input
]


@pytest.mark.parametrize(("model", "size", "stride"), MODELS)
def test_strides_do_not_depend_on_the_sizes(model, size, stride):
    model = model.double().eval()
    x = torch.randn(1, 2, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        assert find_strides(model, x, model(x), [0]) == {0: stride}


def draw_layer(draw):
    """Return a random layer and its stride."""
    kernel_size, stride, padding = draw.randint(1, 5), draw.randint(1, 3), draw.randint(0, 2)
    mode = draw.choice(["zeros", "circular", "reflect", "replicate"])
    layers = [
        (nn.Conv1d(2, 2, kernel_size, stride, padding, draw.randint(1, 2), padding_mode=mode), stride),
        (nn.MaxPool1d(kernel_size + 1, stride, min(padding, (kernel_size + 1) // 2)), stride),
        (nn.AvgPool1d(kernel_size, stride, min(padding, kernel_size // 2)), stride),
        (nn.ConvTranspose1d(2, 2, max(kernel_size, stride), stride), Fraction(1, stride)),
        (nn.Upsample(scale_factor=2, mode="linear"), Fraction(1, 2)),
        (Lambda(lambda x: x[..., padding::stride]), stride),
        (Lambda(lambda x: F.pad(x, (padding, 1))), 1),
        (nn.ReLU(), 1),
    ]
    return draw.choice(layers)


def test_measured_strides_of_random_networks():
    """In maps of 64 positions, most strides can be measured, and none is wrong."""
    measured = 0
    for seed in range(60):
        draw = random.Random(seed)
        torch.manual_seed(seed)
        layers, strides = zip(*(draw_layer(draw) for _ in range(draw.randint(1, 3))))
        model, true = nn.Sequential(*layers).double().eval(), Fraction(1)
        for stride in strides:
            true *= stride
        x = torch.randn(1, 2, draw.randint(60, 70), dtype=torch.float64)
        with torch.no_grad():
            # arithmetic outside of torch hides the operations
            hidden = Lambda(lambda x, model=model: torch.from_numpy(model(x).numpy().copy()))
            output = hidden(x)
            found = find_strides(hidden, x, output, [0])[0]
        if found is not None:
            assert found == true, model
            measured += 1
    assert measured >= 50


def test_shifts_by_the_stride_of_a_layer_without_padding():
    conv = nn.Conv2d(1, 2, 7, stride=2).double().eval()
    x = torch.randn(1, 1, 16, 16, dtype=torch.float64)
    for pixels in (2, 4, 6):
        found = equivariance_error(conv, x, translate((pixels, -pixels), "crop"), out="scaled")
        assert found.out == translate((pixels // 2, -pixels // 2), "crop")
        assert found.relative < 1e-12
        assert_equivariant(conv, x, translate((pixels, 0), "crop"), out="scaled")
    odd = equivariance_error(conv, x, translate((3, 0), "crop"), out="scaled")
    assert str(odd) == "undefined for this stride: a shift by 3 is 3/2 of an output position"
    with pytest.raises(EquivarianceError, match="undefined for these sizes: 5 output positions"):
        assert_equivariant(conv, x, translate((2, 0)), out="scaled")
    assert prove(nn.Conv1d(1, 1, 5, stride=3), (1, 10), translate(3, "crop"), out="scaled")
    assert prove(nn.Conv2d(1, 1, (5, 3), stride=(3, 1)), (1, 12, 7), translate((3, 2), "crop"), out="scaled")


def test_axes_that_do_not_move_need_no_stride():
    x = torch.randn(1, 1, 8, 8, dtype=torch.float64)
    pool = nn.AdaptiveAvgPool2d((8, 1)).eval()
    assert equivariance_error(pool, x, translate((3, 0)), out="scaled").relative < 1e-12
    one = equivariance_error(pool, x, translate((0, 3)), out="scaled")
    assert str(one).startswith("undefined for this size: an output with one position has no shift")


def test_models_that_refuse_nan_are_followed():
    def check(x):
        assert x.isfinite().all()
        return x[..., ::2]

    x = torch.randn(1, 1, 8, dtype=torch.float64)
    assert equivariance_error(check, x, translate(2), out="scaled").relative == 0


def test_tensors_that_a_model_reuses_do_not_keep_nan():
    buffer = torch.empty(1, 1, 10, dtype=torch.float64)
    model = Lambda(lambda x: torch.mul(x[..., ::2], 2, out=buffer)).eval()
    x = torch.randn(1, 1, 20, dtype=torch.float64)
    assert equivariance_error(model, x, translate(4), out="scaled").relative == 0
    assert buffer.isfinite().all()
