"""Pictures of kernels show the kernel of each position."""

import numpy as np
import pytest
import torch

import weightshare as ws
from weightshare.errors import ArgumentError

LAYERS = [
    ws.nn.Conv2d(2, 4, 3, groups=2, sharing=ws.Regional(2), input_size=(6, 7)),
    ws.nn.Conv2d(2, 4, (3, 2), sharing=ws.LowRank(2), input_size=6),
    ws.nn.Conv2d(2, 4, 3, sharing=ws.LowRank(2, "free"), input_size=6),
    ws.nn.LocallyConnected2d(2, 4, 3, input_size=30),
    ws.nn.Conv1d(2, 4, 3, sharing=ws.Tiled(2), input_size=9),
    ws.nn.Conv1d(2, 4, 3, input_size=9),
    ws.nn.ConvTranspose2d(4, 2, 3, sharing=ws.SharedAlong(1), input_size=5),
    ws.nn.Conv2d(2, 4, 3, sharing=ws.Local(), input_size=6, dtype=torch.bfloat16),
]


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_the_tiles_are_the_kernels_of_the_positions(layer):
    with torch.no_grad():
        torch.nn.init.normal_(layer.weight)
    axes = layer.plot_kernels((1, 0)).axes[0]
    rows, columns = (
        [int(t.get_text()) for t in ticks] for ticks in (axes.get_yticklabels(), axes.get_xticklabels())
    )
    canvas = axes.images[0].get_array().filled(np.nan)
    kernels = torch.einsum("pk,k...->p...", layer.assignment().detach(), layer.kernels().detach())[
        :, 1, 0
    ].double()
    size = layer.position_size
    height, width = ([1] * (2 - len(size)) + list(layer.kernel_size))[-2:]
    for i, row in enumerate(rows):
        for j, column in enumerate(columns or [0]):
            position = row * size[1] + column if len(size) == 2 else row
            top, left = i * (height + 1), j * (width + 1)
            shown = canvas[top : top + height, left : left + width]
            np.testing.assert_allclose(shown, kernels[position].reshape(height, width), rtol=1e-2, atol=1e-2)
    assert len(rows) == min(size[0], 12)
    assert rows[-1] == size[0] - 1


def test_a_layer_for_any_size_has_one_kernel():
    layer = ws.nn.Conv2d(2, 4, 5)
    axes = layer.plot_kernels().axes[0]
    assert axes.images[0].get_array().shape == (5, 5)
    assert (axes.get_title(), axes.get_xlabel()) == ("Conv2d, Full()", "all positions, channels (0, 0)")


def test_of_many_positions_some_are_shown_with_a_note():
    axes = ws.nn.LocallyConnected2d(1, 1, 3, input_size=(32, 9)).plot_kernels().axes[0]
    assert axes.get_xlabel().replace("\n", " ") == "30 x 7 positions (12 x 7 shown), channels (0, 0)"


def test_the_scale_is_symmetric():
    layer = ws.nn.LocallyConnected2d(1, 1, 3, input_size=5)
    limit = float(layer.weight.detach().abs().max())
    figure = layer.plot_kernels()
    assert figure.axes[0].images[0].get_clim() == (-limit, limit)
    assert len(figure.axes) == 2


def test_a_plot_leaves_the_layer_as_it_was():
    layer = LAYERS[1]
    layer.plot_kernels()
    assert layer.weight.grad is None
    assert layer.weight.requires_grad


@pytest.mark.parametrize(
    ("channels", "expected"),
    [
        ((4, 0), r"channels must be below \(4, 1\), the channels of kernels\(\), got \(4, 0\)"),
        ((0, -1), r"channels\[1\] must be at least 0, got -1"),
        ((0, 0, 0), "channels must be an integer or a tuple of length 2"),
        ("00", "channels must be an integer"),
    ],
)
def test_channels_that_do_not_exist_are_refused(channels, expected):
    with pytest.raises(ArgumentError, match=rf"^Conv2d\.plot_kernels: {expected}"):
        LAYERS[0].plot_kernels(channels)


def test_layers_that_cannot_be_drawn_are_refused():
    expected = r"^Conv3d\.plot_kernels: the layer must have one or two spatial axes, got 3; plot a slice"
    with pytest.raises(ArgumentError, match=expected):
        ws.nn.Conv3d(1, 1, 3).plot_kernels()
    expected = r"^Conv2d\.plot_kernels: the weight must have values, got a tensor on the meta device\.$"
    with pytest.raises(ArgumentError, match=expected):
        ws.nn.Conv2d(1, 1, 3, device="meta").plot_kernels()
