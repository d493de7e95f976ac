"""Gradients of the kernel at each position against autograd through a locally connected layer, in float64."""

import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss
from torch.utils.data import TensorDataset

import weightshare as ws
from tests.helpers.diagnosed import QUICK, make_examples
from weightshare.diagnose.deviations import find_deviations
from weightshare.diagnose.gradients import Geometry, Gradients, group_layers, measure_gradients
from weightshare.errors import ArgumentError

CONVOLUTIONS = {
    "1d": (lambda: nn.Conv1d(2, 3, 3, padding=1), (7,)),
    "2d": (lambda: nn.Conv2d(2, 4, 3, padding=1), (5, 6)),
    "stride": (lambda: nn.Conv2d(2, 4, 3, stride=2, padding=1), (7, 6)),
    "dilation": (lambda: nn.Conv2d(2, 4, (3, 2), dilation=(2, 1)), (7, 6)),
    "groups": (lambda: nn.Conv2d(4, 6, 3, groups=2), (5, 5)),
    "depthwise": (lambda: nn.Conv2d(3, 3, 3, groups=3, bias=False), (5, 5)),
    "circular": (lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), (5, 5)),
    "reflect": (lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"), (5, 5)),
    "same": (lambda: nn.Conv2d(2, 3, (2, 3), padding="same"), (5, 5)),
    "3d": (lambda: nn.Conv3d(1, 2, 2), (3, 4, 3)),
    "weightshare": (lambda: ws.nn.Conv2d(2, 3, 3, padding=((1, 0), (0, 2))), (5, 5)),
}


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_gradients_of_positions_equal_those_of_a_locally_connected_layer(name, reduction):
    make, size = CONVOLUTIONS[name]
    torch.manual_seed(0)
    layer = make().double()
    model = nn.Sequential(layer, nn.ReLU(inplace=True), nn.Flatten(), nn.LazyLinear(3)).double()
    x = torch.randn(10, layer.in_channels, *size, dtype=torch.float64)
    model(x)
    y = torch.randint(3, (10,))
    loss = nn.CrossEntropyLoss(reduction=reduction)
    batches = [(x[:6], y[:6]), (x[6:], y[6:])]
    geometry = Geometry.from_layer(layer, size)
    found = measure_gradients(model, {"0": geometry}, batches, loss, reduction)["0"]

    local = ws.relax(model, {"0": ws.Local()}, x[:2])
    singles = []
    for i in range(10):
        local.zero_grad()
        loss(local(x[i : i + 1]), y[i : i + 1]).backward()
        singles.append(local[0].weight.grad.permute(0, -1, -2, *range(1, 1 + len(size))).flatten(1))
    each = torch.stack(singles)
    torch.testing.assert_close(found.total / found.count, each.mean(0))
    torch.testing.assert_close(found.by_position, each.square().sum((0, 2)))
    torch.testing.assert_close(found.by_weight, each.square().sum((0, 1)))


def test_the_layer_is_measured_at_every_call():
    layer = nn.Conv2d(2, 2, 3, padding=1).double()
    model = nn.Sequential(layer, nn.Tanh(), layer, nn.Flatten())
    x, y = torch.randn(4, 2, 4, 4, dtype=torch.float64), torch.randn(4, 32, dtype=torch.float64)
    geometry = Geometry.from_layer(layer, (4, 4))
    found = measure_gradients(model, {"0": geometry}, [(x, y)], nn.functional.mse_loss, "mean")["0"]
    local = ws.relax(model, {"0": ws.Local()}, x)
    nn.functional.mse_loss(local(x), y).backward()
    expected = local[0].weight.grad.permute(0, 4, 3, 1, 2).flatten(1)
    torch.testing.assert_close(found.total / found.count, expected)


def test_frozen_models_are_measured_and_keep_no_gradients_or_hooks():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten()).requires_grad_(False)
    x, y = torch.randn(3, 1, 4, 4), torch.randn(3, 8)
    geometry = Geometry.from_layer(model[0], (4, 4))
    found = measure_gradients(model, {"0": geometry}, [(x, y)], nn.functional.mse_loss, "mean")["0"]
    assert found.total.shape == (4, 18)
    assert found.total.abs().sum() > 0
    assert model[0].weight.grad is None
    assert not model[0]._forward_hooks


def test_layers_are_measured_in_at_most_three_passes():
    assert group_layers({"a": 5}) == [["a"]]
    assert group_layers({"a": 5, "b": 1, "c": 2, "d": 1}) == [["a"], ["c", "b", "d"]]
    groups = group_layers({str(i): 1 for i in range(10)})
    assert sorted(map(len, groups)) == [3, 3, 4]


@pytest.mark.parametrize(("convolutions", "passes"), [(1, 1), (2, 2), (4, 3)])
def test_a_sharing_test_measures_gradients_in_at_most_three_passes(convolutions, passes, monkeypatch):
    counts = []

    def measure(model, layers, batches, loss, reduction):
        batches = list(batches)
        counts.append(sum(len(x) for x, _ in batches))
        return measure_gradients(model, layers, batches, loss, reduction)

    monkeypatch.setattr("weightshare.diagnose._test.measure_gradients", measure)
    layers = [nn.Conv2d(1, 1, 3, padding=1) for _ in range(convolutions)]
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(36, 3)).eval()
    data = make_examples(40)
    ws.sharing_test(model, data, nn.functional.cross_entropy, **QUICK)
    assert sum(counts) == passes * len(data)


def test_taps_on_padding_do_not_show_in_the_map():
    """With the same data at every position, only the padding differs between positions."""
    layer = nn.Conv2d(1, 2, 3, padding=1).double()
    x = torch.randn(20, 1, 1, 1, dtype=torch.float64).expand(20, 1, 6, 6)
    loss = lambda output, target: output.mean((1, 2, 3)).sum()  # noqa: E731
    geometry = Geometry.from_layer(layer, (6, 6))
    halves = [
        measure_gradients(nn.Sequential(layer), {"0": geometry}, [(part, None)], loss, "sum")["0"]
        for part in x.split(10)
    ]
    found = find_deviations(halves, (6, 6), 1)
    assert found.map.abs().max() < 1e-20


def test_coefficients_and_spectrum_of_an_exact_deviation_of_rank_one():
    """Gradients that are one pattern times coefficients, equal in both halves."""
    torch.manual_seed(0)
    rows, columns = torch.randn(2, 5, dtype=torch.float64)
    field = (rows[:, None] + columns).flatten()
    total = field[:, None] * torch.randn(12, dtype=torch.float64) + torch.randn(12, dtype=torch.float64)
    halves = [Gradients(total.clone(), torch.ones(25).double(), torch.ones(12).double(), 1) for _ in range(2)]
    found = find_deviations(halves, (5, 5), 1)
    assert found.map.shape == (5, 5)
    assert found.spectrum[0] > 1e6 * abs(found.spectrum[1])
    coefficients = found.get_coefficients(ws.LowRank(1))
    got = coefficients["coefficients_0"][0][:, None] + coefficients["coefficients_1"][0]
    assert abs(torch.corrcoef(torch.stack([got.flatten(), field]))[0, 1]) == pytest.approx(1)
    assert got.std() == pytest.approx(1, rel=0.05)


def test_gradients_that_are_not_finite():
    x = torch.randn(40, 1, 6, 6)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(32, 1)).eval()
    data = TensorDataset(x, model(x).detach())

    def loss(output, target):
        return (output - target).abs().sqrt().mean()

    with pytest.raises(ArgumentError) as raised:
        ws.sharing_test(model, data, loss, epochs=1)
    assert str(raised.value) == (
        "sharing_test: the gradients of layer '0' must be finite for every example, got NaN or infinite "
        "values; look for a square root or logarithm of zero in the loss."
    )


def test_gradients_whose_squares_are_not_finite():
    x, y = 1e10 * torch.randn(20, 1, 4), 1e10 * torch.randn(20, 1, 3)
    with pytest.raises(ArgumentError) as raised:
        ws.sharing_test(nn.Sequential(nn.Conv1d(1, 1, 2)).eval(), TensorDataset(x, y), mse_loss, epochs=1)
    assert str(raised.value) == (
        "sharing_test: the gradients of layer '0' must be finite for every example, and so must their "
        "squares, got infinite ones; scale the inputs, the targets or the loss."
    )
