"""The trace finds the right operation, cause and exact shifts on networks where these are known."""

import copy
import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import weightshare as ws
from tests.helpers.networks import X, net, picture
from weightshare.errors import ArgumentError, SymmetryError
from weightshare.symmetry import equivariance_error, trace_equivariance, translate


@pytest.mark.parametrize("down", ["pool", "stride", "blur"])
def test_circular_networks_with_two_poolings_are_exact_for_multiples_of_4(down):
    model = net("circular", down)
    first_losses = {1: "2", 2: "5", 3: "2", 4: None, 8: None}
    for shift, name in first_losses.items():
        trace = trace_equivariance(model, X, shift)
        assert trace.first_loss == name
        assert trace.exact_for == (4, 4)
        assert [row.exact_for for row in trace.rows[:6]] == [(1, 1), (1, 1), (2, 2), (2, 2), (2, 2), (4, 4)]
        expected = equivariance_error(model, X, translate((shift, shift)), out="invariant").relative
        assert trace.error == pytest.approx(expected, abs=1e-15)
        assert (trace.error < 1e-12) == (name is None)
        assert trace.at(4) < 1e-12
    cause = {"pool": "pooling", "stride": "stride", "blur": "pooling"}[down]
    assert [row.name for row in trace.rows if row.causes] == ["2", "5"]
    assert all(row.cause in ("", cause) for row in trace.rows)


def test_a_circular_network_without_down_sampling_is_exact():
    trace = trace_equivariance(net("circular", "none"), X)
    assert (trace.first_loss, trace.exact_for, trace.error < 1e-12) == (None, (1, 1), True)
    assert trace.verdict == "shift (1, 1) is preserved end to end; all shifts are preserved"


@pytest.mark.parametrize("down", ["none", "pool", "stride"])
def test_zero_padding_breaks_equivariance_at_the_first_convolution(down):
    trace = trace_equivariance(net("zeros", down), X)
    first = trace.rows[0]
    assert trace.first_loss == "0"
    assert (first.cause, first.border, first.exact_for) == ("padding", 1, None)
    assert 0.01 < first.local < 1
    assert 0.01 < first.accumulated < 1
    assert "padding" in trace.verdict
    assert trace.exact_for is None


def test_the_border_grows_by_half_a_kernel_per_layer():
    rows = {row.name: row for row in trace_equivariance(net("zeros", "none"), picture(1, 3, 32, 32)).rows}
    assert [rows[name].border for name in ("0", "1", "3", "4", "6", "7")] == [1, 1, 2, 2, 3, 3]
    wide = nn.Sequential(nn.Conv2d(3, 2, 7, padding=3), nn.Conv2d(2, 2, 3, padding=2, dilation=2)).double()
    trace = trace_equivariance(wide.eval(), picture(1, 3, 32, 32), 2)
    assert [row.border for row in trace.rows] == [3, 5]


def test_layers_without_padding_differ_only_where_the_shift_wraps_around():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 5)).double().eval()
    trace = trace_equivariance(model, X)
    assert [(row.cause, row.border) for row in trace.rows] == [("valid border", 0), ("valid border", 0)]


class Functions(nn.Module):
    """Functions and in-place operators in place of modules."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1, padding_mode="circular")
        self.weight = nn.Parameter(torch.randn(8, 8, 3, 3))
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = F.relu(self.stem(x), inplace=True)
        y = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="circular"), self.weight)
        x = (x + y).relu_()
        x = F.max_pool2d(x, 2)
        x += 1
        return self.head(x.mean((2, 3)))


def test_functions_are_recorded():
    model = Functions().double().eval()
    before = copy.deepcopy(model.state_dict())
    trace = trace_equivariance(model, X)
    assert trace.first_loss == "max_pool2d"
    assert trace.exact_for == (2, 2)
    names = [row.name for row in trace.rows]
    assert names == ["stem", "relu", "pad", "conv2d", "add", "relu_", "max_pool2d", "add_", "mean", "head"]
    assert trace.at(2) < 1e-12
    expected = equivariance_error(model, X, translate((1, 1)), out="invariant").relative
    assert trace.error == pytest.approx(expected)
    assert not trace.untraced
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not model._forward_hooks


def test_circular_padding_by_a_separate_layer():
    """Padding and layer together are exact, although the padded map is not a circle."""
    pads = [nn.CircularPad2d(2), nn.CircularPad2d((1, 2, 0, 3))]
    for pad, kernel in zip(pads, (5, 4)):
        model = nn.Sequential(pad, nn.ReLU(), nn.Conv2d(3, 2, kernel), nn.MaxPool2d(2)).double().eval()
        trace = trace_equivariance(model, X, 2)
        assert (trace.first_loss, trace.exact_for, trace.error < 1e-12) == (None, (2, 2), True)


@pytest.mark.parametrize(
    "pad", [nn.ZeroPad2d(1), nn.ReflectionPad2d(1), nn.ReplicationPad2d(1), nn.ConstantPad2d(1, 2.0)]
)
def test_padding_belongs_to_the_layer_that_it_feeds(pad):
    model = nn.Sequential(pad, nn.ReLU(), nn.Conv2d(3, 2, 3)).double().eval()
    trace = trace_equivariance(model, X)
    assert [row.cause for row in trace.rows] == ["", "", "padding"]
    assert (trace.first_loss, trace.rows[-1].border, trace.exact_for) == ("2", 1, None)


def test_a_ring_keeps_the_shifts_along_its_circle():
    ring = nn.Sequential(nn.CircularPad2d((1, 1, 0, 0)), nn.ZeroPad2d((0, 0, 1, 1)), nn.Conv2d(3, 8, 3))
    trace = trace_equivariance(ring.double().eval(), X)
    assert (trace.first_loss, trace.rows[-1].cause, trace.exact_along, trace.exact_for) == (
        "2",
        "padding",
        (0, 1),
        None,
    )
    assert trace.verdict.endswith("preserved: no shift along axis 0, all shifts along axis 1")
    assert trace_equivariance(ring, X, (0, 3)).exact_for == (0, 1)


def test_a_linear_layer_on_flattened_positions_breaks_equivariance():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular"), nn.Flatten(), nn.Linear(1024, 5)
    )
    trace = trace_equivariance(model.double().eval(), X)
    assert (trace.first_loss, trace.rows[-1].cause) == ("2", "flatten")
    assert trace.rows[1].local == 0
    assert trace.rows[1].accumulated < 1e-12


class Tokens(nn.Module):
    """A vision transformer: patches, a class token, a position embedding and attention."""

    def __init__(self, positions=True):
        super().__init__()
        self.patch = nn.Conv2d(3, 16, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, 16))
        self.positions = nn.Parameter(torch.randn(1, 17, 16)) if positions else None
        self.block = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.0, batch_first=True)
        self.head = nn.Linear(16, 5)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1)
        if self.positions is not None:
            x = x + self.positions
        return self.head(self.block(x)[:, 0])


def test_position_embeddings():
    trace = trace_equivariance(Tokens().double().eval(), X, 4)
    assert trace.first_loss == "add"
    row = next(row for row in trace.rows if row.name == "add")
    assert (row.cause, row.exact_for) == ("position embedding", None)
    assert trace_equivariance(Tokens().double().eval(), X, 1).first_loss == "patch"
    found = trace.interventions()
    effect = next(e for e in found.effects if e.cause == "position embedding")
    assert effect.without < 1e-12 < found.error
    free = trace_equivariance(Tokens(positions=False).double().eval(), X, 4)
    assert (free.first_loss, free.exact_for, free.error < 1e-12) == (None, (4, 4), True)


class SelfAttention(nn.Module):
    """Attention over the positions of a map, written with matrix products."""

    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(3, 12)

    def forward(self, x):
        n, c, h, w = x.shape
        tokens = x.permute(0, 2, 3, 1).reshape(n, h * w, c)
        q, k, v = self.qkv(tokens).chunk(3, dim=-1)
        weights = (q @ k.transpose(-2, -1) / 2).softmax(-1)
        return (weights @ v).transpose(1, 2).reshape(n, 4, h, w)


def test_attention_preserves_shifts_and_positions_are_followed_back_to_a_map():
    trace = trace_equivariance(SelfAttention().double().eval(), picture(2, 3, 6, 5), (1, 2))
    assert trace.first_loss is None
    assert trace.rows[-1].shape == (2, 4, 6, 5)
    assert all(row.local is not None for row in trace.rows)
    assert trace.error < 1e-12


SHARED = [(ws.Tiled(2), (2, 2)), (ws.Tiled(4), (4, 4)), (ws.Regional(2), None), (ws.Local(), None)]


@pytest.mark.parametrize(("sharing", "exact_for"), SHARED, ids=str)
def test_partial_sharing_preserves_multiples_of_its_period(sharing, exact_for):
    arguments = {"padding": 1, "padding_mode": "circular", "sharing": sharing, "input_size": 16}
    model = nn.Sequential(nn.ReLU(), ws.nn.Conv2d(3, 4, 3, **arguments)).double().eval()
    trace = trace_equivariance(model, X)
    assert (trace.first_loss, trace.rows[-1].cause) == ("1", "unshared weights")
    assert trace.exact_for == exact_for


def test_sharing_along_one_axis():
    along = ws.nn.Conv2d(
        3, 4, 3, padding=1, padding_mode="circular", sharing=ws.SharedAlong(1), input_size=16
    )
    assert trace_equivariance(along.double().eval(), X, (0, 3)).exact_for == (0, 1)
    assert trace_equivariance(along, X, (1, 0)).exact_for is None


def test_signals_volumes_strides_per_axis_and_upsampling():
    line = (
        nn.Sequential(nn.Conv1d(2, 3, 3, padding=1, padding_mode="circular"), nn.AvgPool1d(2)).double().eval()
    )
    assert trace_equivariance(line, picture(1, 2, 12)).exact_for == (2,)
    box = nn.Conv3d(1, 2, 3, stride=(1, 2, 1), padding=1, padding_mode="circular").double().eval()
    trace = trace_equivariance(box, picture(1, 1, 4, 4, 4), (1, 2, 3))
    assert (trace.exact_for, trace.first_loss) == ((1, 2, 1), None)
    assert "shifts by multiples of 1 x 2 x 1" in trace.verdict
    up = nn.Sequential(nn.AvgPool2d(2), nn.Upsample(scale_factor=2), nn.Identity()).double().eval()
    trace = trace_equivariance(up, X, 2)
    assert (trace.exact_for, trace.error < 1e-12) == ((2, 2), True)


class Hidden(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return torch.from_numpy(x.detach().numpy() * 2)


class Through(nn.Module):
    def forward(self, x):
        return Hidden.apply(x)


def test_opaque_operations_are_named():
    model = nn.Sequential(nn.ReLU(), Through(), nn.MaxPool2d(2)).eval()
    trace = trace_equivariance(model, X)
    assert trace.untraced == ("1", "1.numpy")
    assert [row.name for row in trace.rows] == ["0", "1", "2"]
    assert [row.seen for row in trace.rows] == [True, False, True]
    assert "not recorded completely: 1, 1.numpy" in str(trace)
    whole = trace_equivariance(Through().eval(), X)
    assert whole.untraced == ("Through", "numpy")


class Windows(nn.Module):
    """Attention within windows of 4 x 4, as in Swin."""

    def forward(self, x):
        n, c, h, w = x.shape
        x = x.view(n, c, h // 4, 4, w // 4, 4).permute(0, 2, 4, 3, 5, 1).flatten(3, 4)
        x = (x @ x.mT / 4).softmax(-1) @ x
        return x.unflatten(3, (4, 4)).permute(0, 5, 1, 3, 2, 4).reshape(n, c, h, w)


def test_windows_preserve_shifts_by_whole_windows():
    model = Windows().eval()
    trace = trace_equivariance(model, X)
    assert (trace.first_loss, trace.rows[0].cause, trace.exact_for) == ("view", "windows", (4, 4))
    assert trace.at(4) < 1e-12 < trace.at(2)
    assert trace_equivariance(model, X, 4).first_loss is None


class Sorted(nn.Module):
    """Positions sorted by their values."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(256, 5)

    def forward(self, x):
        return self.linear(x.flatten(2).sort(-1).values).mean(1)


def test_operations_without_a_rule_are_followed_by_measurement():
    """Sorted values have no positions any more, so nothing is lost."""
    trace = trace_equivariance(Sorted().double().eval(), X)
    assert (trace.first_loss, trace.followed, trace.exact_for, trace.error < 1e-12) == (
        None,
        True,
        (1, 1),
        True,
    )
    tokens = lambda x: torch.einsum("nchw,cd->nhwd", x, X[0, :, :2, 0]).flatten(1, 2)  # noqa: E731
    assert trace_equivariance(tokens, X).exact_for == (1, 1)
    shuffled = nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(12, 12, 1), nn.PixelShuffle(2)).double().eval()
    trace = trace_equivariance(shuffled, X)
    assert ([row.cause for row in trace.rows], trace.exact_for) == (["stride", "", ""], (2, 2))


def test_positions_that_cannot_be_followed():
    """What is not followed is never reported as lost."""
    trace = trace_equivariance(lambda x: x.argsort(-1).double().mean(1), X)
    assert (trace.first_loss, trace.followed, trace.exact_along, trace.exact_for) == (None, False, None, None)
    assert (trace.error, trace.rows[0].cause) == (None, "not followed")
    assert trace.verdict == (
        "it is unknown whether shift (1, 1) is preserved: exact shifts could not be checked; "
        "positions cannot be followed through 'argsort'"
    )
    assert "-" in str(trace).splitlines()[3]
    invariant = trace_equivariance(lambda x: x.argsort(-1).argsort(-1).sort(-1).values.double().mean(1), X)
    assert (invariant.first_loss, invariant.followed, invariant.error) == (None, True, 0)
    assert invariant.exact_for == (1, 1)  # measured on the whole model


def test_a_model_in_training_mode_runs_in_evaluation_mode():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout()).double().train()
    mean = model[1].running_mean.clone()
    with pytest.warns(UserWarning, match="Sequential is in training mode"):
        trace_equivariance(model, X)
    assert all(module.training for module in model.modules())
    assert torch.equal(model[1].running_mean, mean)


class Noisy(nn.Module):
    def forward(self, x):
        return F.dropout(x.relu(), 0.5, training=True)


def test_invalid_inputs_and_models_raise_errors():
    with pytest.raises(SymmetryError, match=r"must be deterministic.*first at '1\.dropout'"):
        trace_equivariance(nn.Sequential(nn.ReLU(), Noisy()).eval(), X)
    with pytest.raises(
        ArgumentError, match=r"tensor \[N, C, \*spatial\], got torch.float64 of shape \[2, 3\]"
    ):
        trace_equivariance(nn.ReLU().eval(), X[..., 0, 0])
    with pytest.raises(ArgumentError, match=r"got torch\.int64 of shape"):
        trace_equivariance(nn.ReLU().eval(), torch.zeros(1, 1, 4, dtype=torch.int64))
    with pytest.raises(
        ArgumentError, match=r"shift must not be a multiple of the input size \(16, 16\), got 0"
    ):
        trace_equivariance(nn.ReLU().eval(), X, 0)
    with pytest.raises(ArgumentError, match="shift must have one integer for each of 2 spatial axes"):
        trace_equivariance(nn.ReLU().eval(), X, (1, 1, 1))
    with pytest.raises(ArgumentError, match="x must have an axis with more than one position"):
        trace_equivariance(nn.ReLU().eval(), X[..., :1, :1])
    with pytest.raises(ArgumentError, match="x must be a dense tensor with values, got a tensor on the meta"):
        trace_equivariance(nn.ReLU().eval(), X.to("meta"))
    with pytest.raises(ArgumentError, match="x must be a dense tensor with values, got one with torch"):
        trace_equivariance(nn.ReLU().eval(), X.to_sparse())
    with pytest.raises(ArgumentError, match="the output must have elements"):
        trace_equivariance(lambda x: x[:, :0], X)
    with pytest.raises(ArgumentError, match="'weight' on the meta device"):
        trace_equivariance(nn.Conv2d(3, 2, 3, device="meta").eval(), X)
    with pytest.raises(ArgumentError, match="'weight' of a lazy module"):
        trace_equivariance(nn.LazyConv2d(2, 3).eval(), X)
    with pytest.raises(ArgumentError, match="the output must be one tensor, got tuple"):
        trace_equivariance(lambda x: (x, x), X)
    with pytest.raises(SymmetryError, match="the outputs must be finite"):
        trace_equivariance(torch.log, X)
    with pytest.raises(RuntimeError, match="expected input"):  # raised by torch
        trace_equivariance(nn.Conv2d(4, 1, 3).double().eval(), X)


def test_the_result_as_text_and_as_data():
    trace = trace_equivariance(net("circular", "pool"), X)
    lines = str(trace).splitlines()
    assert lines[0].startswith("equivariance to shift (1, 1) is first lost at '2' (pooling); relative error")
    assert lines[0].endswith("shifts by multiples of 4 are preserved")
    head = (
        "operation  type  output shape  own error  error so far  exact shifts (px)  border (positions)  cause"
    )
    assert re.split(r"\s{2,}", lines[2]) == head.split("  ")
    assert lines[3].split()[:2] == ["2", "MaxPool2d"]
    assert lines[-1] == "plus 9 fully equivariant operations"
    data = trace.to_dict()
    assert data["first_loss"] == "2"
    assert len(data["rows"]) == 11
    assert data["rows"][2]["exact_for"] == (2, 2)


def test_a_resnet_is_traced_completely():
    trace = trace_equivariance(ws.models.resnet18(classes=10).eval(), torch.randn(1, 3, 64, 64))
    assert not trace.untraced
    assert all(row.local is not None for row in trace.rows)
    assert "padding" in trace.rows[0].cause
    assert "stride" in trace.rows[0].cause
