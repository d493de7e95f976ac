"""What the trace claims holds by brute force, for each axis, in any precision, on any input."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import weightshare as ws
from tests.helpers.networks import X, picture


def measure(model, x, shift, out=None):
    """Return the relative error of a circular shift, by brute force in float64."""
    axes = tuple(range(2, x.dim()))
    with torch.no_grad():
        y, z = model(x.clone()), model(torch.roll(x, shift, axes))
        expected = y if out == "invariant" else torch.roll(y, shift, axes)
    return ((z - expected).norm() / expected.norm()).item()


def circular(inputs, outputs, kernel=3, **options):
    return nn.Conv2d(
        inputs, outputs, kernel, padding=kernel // 2, padding_mode="circular", **options
    ).double()


def cleared_by_a_view(x):
    h = x.relu()
    h[:, :, 0].zero_()
    return h


def cleared_columns_of_a_view(x):
    h = x.relu()
    tokens = h.flatten(2)
    tokens[..., ::2].mul_(2)
    return h


def written_into_views_of_a_constant(x):
    buffer = x.new_zeros(2, 6, 16, 16)
    first, second = buffer[:, :3], buffer[:, 3:]
    first.copy_(x)
    second[:, :, :, 3:5].add_(x[:, :, :, 3:5])
    return buffer.relu()


@pytest.mark.parametrize(
    ("model", "exact_along"),
    [
        (cleared_by_a_view, (0, 1)),
        (cleared_columns_of_a_view, (1, 2)),
        (written_into_views_of_a_constant, (1, 0)),
    ],
)
def test_writes_through_views_are_seen(model, exact_along):
    trace = ws.trace_equivariance(model, X)
    assert trace.exact_along == exact_along
    assert trace.error == pytest.approx(measure(model, X, (1, 1)))
    assert trace.first_loss is not None
    assert trace.interventions().error == pytest.approx(trace.error)  # a replay reproduces the writes


def test_a_margin_of_zeros_hides_nothing():
    """Shifts that leave the black margin of a digit empty are exact on it, but not all shifts are."""
    convs = nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.Conv2d(8, 8, 3, padding=1, bias=False)
    model = nn.Sequential(convs[0], nn.ReLU(), convs[1]).double().eval()
    x = torch.zeros(1, 1, 28, 28, dtype=torch.float64)
    x[:, :, 6:22, 6:22] = picture(1, 1, 16, 16)
    trace = ws.trace_equivariance(model, x)
    assert (trace.error < 1e-12, trace.exact_for) == (True, None)
    assert (
        trace.verdict == "shift (1, 1) is preserved on this input, but not on others; no shift is preserved"
    )
    assert measure(model, x, (8, 8)) > 0.1
    assert trace.rows[0].cause == "padding"


@pytest.mark.parametrize("x", [torch.zeros(1, 3, 16, 16).double(), torch.ones(1, 3, 16, 16).double()])
def test_a_constant_picture_proves_nothing(x):
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), nn.ReLU()).double().eval()
    trace = ws.trace_equivariance(model, x)
    assert (trace.error < 1e-12, trace.exact_for, trace.rows[0].cause) == (True, None, "padding")


def test_weights_that_alternate_along_one_axis():
    norm = nn.LayerNorm([3, 16, 16]).double().eval()
    norm.weight.data = (1.0 + torch.arange(16) % 2).double().expand(3, 16, 16).clone()
    trace = ws.trace_equivariance(norm, X)
    assert (trace.exact_for, trace.rows[0].cause) == ((1, 2), "unshared weights")
    head = nn.Sequential(nn.Flatten(), nn.Linear(768, 4)).double().eval()
    head[1].weight.data = picture(4, 3, 1, 4).repeat(1, 1, 16, 4).flatten(1)
    trace = ws.trace_equivariance(head, X)
    assert (trace.exact_for, trace.rows[-1].cause) == ((1, 4), "flatten")


def test_a_value_that_cancels_to_rounding_is_not_lost():
    """The mean of a normalized map is zero up to rounding, and so is its difference."""
    gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 8, 1).double(), nn.Sigmoid())
    layers = nn.Sequential(circular(3, 8), nn.InstanceNorm2d(8)).eval()
    model = lambda x: (y := layers(x)) * gate(y)  # noqa: E731
    trace = ws.trace_equivariance(model, X)
    assert (trace.first_loss, trace.exact_for) == (None, (1, 1))
    assert not any(row.causes for row in trace.rows)
    means = ws.trace_equivariance(lambda x: layers(x).mean((2, 3)), X)
    assert (means.first_loss, means.exact_for) == (None, (1, 1))


class Weather(nn.Module):
    """Pressure in pascals beside coordinates between 0 and 1."""

    def __init__(self):
        super().__init__()
        self.norm, self.conv = nn.InstanceNorm2d(3), circular(3, 8).float()

    def forward(self, p):
        lines = [torch.linspace(0, 1, n) for n in p.shape[2:]]
        grid = torch.stack(torch.meshgrid(*lines, indexing="ij"))
        return self.conv(self.norm(torch.cat([p, grid[None]], 1)))


def test_models_are_measured_in_float64_and_unchanged():
    torch.manual_seed(0)
    model, p = Weather().eval(), 101325 + 800 * torch.randn(1, 1, 16, 16)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trace = ws.trace_equivariance(model, p)
    assert (trace.first_loss, trace.exact_for, trace.floor) == ("cat", None, 1e-12)
    assert "position embedding" in trace.verdict
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert (model.conv.weight.dtype, p.dtype) == (torch.float32, torch.float32)
    without = nn.Sequential(circular(1, 8).float(), nn.InstanceNorm2d(8)).eval()
    assert ws.trace_equivariance(without, p).error < 1e-12
    half = nn.Sequential(circular(1, 4).bfloat16(), nn.ReLU()).eval()
    assert ws.trace_equivariance(half, p.bfloat16() / 1e5).error < 1e-12


class Counting(nn.Module):
    """Changes a buffer in each run."""

    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))
        self.conv = circular(3, 4).float()

    def forward(self, x):
        self.seen.add_(1)
        return self.conv(x).half().float()


def test_types_that_a_model_asks_for_are_widened_and_buffers_are_restored():
    model = Counting().eval()
    trace = ws.trace_equivariance(model, X.float())
    assert (trace.exact_for, trace.error < 1e-12, model.seen.item()) == ((1, 1), True, 0)


def test_a_model_that_cannot_run_in_float64_is_measured_in_its_own_precision():
    scripted = torch.jit.trace(nn.Sequential(circular(3, 4), nn.MaxPool2d(2)).float().eval(), X.float())
    trace = ws.trace_equivariance(scripted, X.float(), 2)
    assert (trace.floor, trace.error < 1e-5, trace.exact_for) == (1e-5, True, (2, 2))


def test_shifts_that_are_exact_only_together():
    model = lambda x: x + x.mT  # noqa: E731
    trace = ws.trace_equivariance(model, X)
    assert (trace.first_loss, trace.exact_for, trace.is_joint) == (None, None, True)
    assert trace.verdict == (
        "shift (1, 1) is preserved end to end; multiples of (1, 1) are preserved, "
        "but not along one axis at a time"
    )
    assert ws.trace_equivariance(model, X, (0, 1)).first_loss == "add"
    diagonal = torch.eye(16).double().roll(3, 0)
    assert ws.trace_equivariance(lambda x: x * diagonal, X).is_joint


def test_the_largest_shift_is_found_although_smaller_ones_fail():
    """A pattern of period 5 on 15 columns, and a network that only keeps half of the circle."""
    stripes = (torch.arange(15) % 5).double()
    trace = ws.trace_equivariance(lambda x: x * stripes, picture(1, 2, 4, 15))
    assert trace.exact_along == (1, 5)
    halves = torch.cat([torch.arange(8), torch.arange(8)]).double()
    trace = ws.trace_equivariance(lambda x: (x * halves).flatten(2).cumsum(1), X)
    assert trace.exact_along == (1, 8)


def test_an_exact_mean_of_pooled_maps_is_found():
    """Each pool alone keeps multiples of 2, but the mean of means keeps all shifts."""
    model = nn.Sequential(nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    trace = ws.trace_equivariance(model.eval(), X)
    assert (trace.exact_for, trace.first_loss) == ((1, 1), None)
    assert trace.rows[0].exact_for == (2, 2)


def test_the_border_is_none_if_nothing_inside_is_exact():
    dead = torch.rand(16, 16, generator=torch.Generator().manual_seed(1)) < 0.08
    trace = ws.trace_equivariance(lambda x: x.masked_fill(dead, 0.0), X)
    assert (trace.rows[0].borders, trace.rows[0].border, trace.rows[0].cause) == (None, None, "mask")
    assert "everywhere" in str(trace)
    causal = lambda x: F.conv2d(F.pad(x, (4, 0)), torch.ones(1, 3, 1, 5).double())  # noqa: E731
    row = ws.trace_equivariance(causal, X, (0, 1)).rows[-1]
    assert (row.borders, row.cause) == (((0, 0), (4, 0)), "padding")


@pytest.mark.parametrize(
    ("layer", "size", "causes"),
    [
        (nn.Conv1d(1, 4, 10, stride=5), 200, ("valid border", "stride")),
        (nn.Conv1d(1, 4, 5, stride=5), 203, ("uneven size", "stride")),
        (nn.Conv1d(1, 4, 3, padding=1, stride=2), 16, ("padding", "stride")),
        (nn.ConvTranspose1d(1, 4, 4, stride=2, padding=1), 16, ("padding",)),
        (nn.Upsample(scale_factor=2, mode="linear", align_corners=True), 16, ("resizing",)),
    ],
    ids=["valid", "uneven", "padded", "transposed", "align_corners"],
)
def test_causes_are_read_from_the_call(layer, size, causes):
    trace = ws.trace_equivariance(layer.double().eval(), picture(1, 1, size), 10)
    assert trace.rows[0].causes == causes


def test_recurrence_along_positions():
    lstm = nn.LSTM(3, 5, batch_first=True).double().eval()
    trace = ws.trace_equivariance(lambda x: lstm(x.mT)[0].mT, picture(2, 3, 12))
    assert (trace.followed, trace.rows[1].cause, trace.exact_for) == (True, "recurrence", None)


def test_a_shift_by_a_fraction_of_a_position_has_a_figure():
    blur, pool = ws.nn.BlurPool2d(padding_mode="circular"), nn.MaxPool2d(2)
    smooth = nn.AvgPool2d(9, 1, 0)
    x = smooth(F.pad(picture(1, 1, 32, 32), (4, 4, 4, 4), mode="circular"))
    traces = [ws.trace_equivariance(layer.double().eval(), x) for layer in (blur, pool)]
    assert all(trace.error is None and "from the band-limited shift" in trace.verdict for trace in traces)
    assert traces[0].fractional < traces[1].fractional / 3


def test_the_number_of_runs_is_small():
    """Two runs on the input, one on its shift, one on a random input, and two for each axis."""
    calls = []

    class Counted(nn.Sequential):
        def forward(self, x):
            calls.append(x)
            return super().forward(x)

    model = Counted(circular(3, 8), nn.ReLU(), nn.MaxPool2d(2), circular(8, 8)).eval()
    assert ws.trace_equivariance(model, X, 2).exact_for == (2, 2)
    assert len(calls) <= 8


def test_a_map_of_one_position_has_no_axis():
    token = picture(1, 1, 4)

    def model(x):
        y = F.max_pool2d(x[..., ::2], 7, 16)
        y = torch.cat([y, y[:, 0].unsqueeze(1)], 1)
        tokens = torch.cat([token.expand(2, -1, -1), y.flatten(2).mT], 1)
        return (tokens @ tokens.mT).softmax(-1) @ tokens

    trace = ws.trace_equivariance(model, X)
    assert trace.error == pytest.approx(measure(model, X, (1, 1), "invariant"))
    assert (trace.followed, trace.exact_along) == (True, (0, 0))


def test_outputs_that_agree_by_chance_prove_nothing():
    """A maximum is rarely at the border."""
    weight, x = picture(2, 3, 3, 3), picture(1, 3, 40, 40)
    largest = ws.trace_equivariance(lambda x: F.conv2d(x, weight, padding=1).amax((2, 3)), x)
    assert (largest.exact_along, largest.is_joint) == ((0, 0), False)
    pooled = ws.trace_equivariance(lambda x: F.max_pool2d(x[..., ::2], 7, 16).flatten(1), X)
    assert pooled.exact_along == (0, 0)


def test_the_smallest_shift_of_an_operation_may_exceed_the_axis():
    def model(x):
        small = F.interpolate(x, scale_factor=0.5, mode="area")
        return torch.cat([F.interpolate(small, size=(9, 8)), F.pad(x, (0, 0, 2, 1), "circular")], 1)

    torch.manual_seed(0)
    trace = ws.trace_equivariance(model, torch.randn(1, 3, 6, 8, dtype=torch.float64))
    assert trace.exact_along == (0, 2)


def test_vectors_of_one_position_are_measured():
    def model(x):
        parts = torch.stack([x[..., 0::2], x[..., 1::2]])
        parts = parts[parts.flatten(1).norm(dim=1).argmax()]
        parts = torch.stack([parts[..., 0::2], parts[..., 1::2]])
        return parts[parts.flatten(1).norm(dim=1).argmax()]

    torch.manual_seed(0)
    x = torch.randn(1, 1, 4, 4, 4, dtype=torch.float64)
    trace = ws.trace_equivariance(model, x)
    for axis, pixels in enumerate(trace.exact_along or ()):
        if pixels and model(x).shape[axis + 2] == 4:
            shifted = model(x.roll(pixels, axis + 2))
            torch.testing.assert_close(shifted, model(x).roll(pixels, axis + 2))
