"""Whatever a model is made of, the trace agrees with the model itself, run on shifted inputs."""

import json

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import weightshare as ws
from tests.helpers.networks import picture
from weightshare.pattern import generators
from weightshare.symmetry import equivariance_error, translate

X = picture(1, 3, 16, 16)


def conv(inputs=3, outputs=4, kernel=3, **options):
    torch.manual_seed(inputs + outputs + kernel)
    return nn.Conv2d(
        inputs, outputs, kernel, padding=kernel // 2, padding_mode="circular", **options
    ).double()


class Keeping(nn.Module):
    """Reads its output once more, and keeps the answer."""

    def __init__(self):
        super().__init__()
        self.conv = conv(3, 3)

    def forward(self, x):
        y = self.conv(x)
        self.seen = y.mean()
        return y


class Hooked(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = conv()
        self.conv.register_forward_hook(lambda module, args, output: output * 2 + 1)

    def forward(self, x):
        return torch.sigmoid(self.conv(x))


same, four, down = conv(3, 3), conv(), conv(stride=2)
checkerboard = ((torch.arange(16)[:, None] + torch.arange(16)) % 2).double()
pieces = torch.zeros(1, 4, 16, 16).double()
attention = nn.MultiheadAttention(4, 2, batch_first=True).double().eval()


def through_a_view(x):
    y = same(x)
    y.view(1, 3, 256).relu_()
    return same(y)


def a_half(x):
    y = four(x)
    first, _ = y.chunk(2, 1)
    first.mul_(2)
    return y


def assembled(x):
    y = four(x)
    result = torch.zeros(y.shape, dtype=y.dtype)
    result[:, :2] = y[:, :2]
    result[:, 2:] = y[:, 2:].relu()
    return result


def by_halves(x):
    y = four(x)
    result = torch.zeros(1, 4, 16, 16, dtype=x.dtype)
    result[:, :, :8] = y[:, :, :8]
    result[:, :, 8:] = y[:, :, 8:]
    return result


def unet(x):
    y = down(x)
    up = F.interpolate(y, scale_factor=2)
    return torch.cat([up, four(x)], 1)


def channels_last(x):
    return F.layer_norm(four(x).permute(0, 2, 3, 1), (4,)).permute(0, 3, 1, 2)


def squeezed(x):
    y = four(x)
    return y * y.mean((2, 3), keepdim=True).sigmoid()


def tokens(x):
    t = four(x).flatten(2).mT
    return attention(t, t, t)[0].mT.unflatten(2, (16, 16))


FORMS = {
    "truth values": lambda x: four(x) * (four(x) > 0),
    "choices": lambda x: torch.where(four(x) > 0, four(x), 0.0),
    "an output that is read again": Keeping().eval(),
    "writing through a view": through_a_view,
    "writing into a part": a_half,
    "putting together": assembled,
    "out=": lambda x: torch.mul(four(x), 2, out=pieces),
    "a hook": Hooked().eval(),
    "a checkerboard": lambda x: four(x) * checkerboard,
    "chosen channels": lambda x: four(x)[:, [2, 1, 0]],
    "one channel": lambda x: four(x).select(1, 0),
    "a matrix from the left": lambda x: torch.ones(2, 4).double() @ four(x).flatten(2),
    "what goes nowhere": lambda x: (F.conv2d(x, torch.ones(1, 3, 3, 3).double(), padding=1).mean(), four(x))[
        1
    ],
    "means of means": lambda x: F.adaptive_avg_pool2d(F.avg_pool2d(four(x), 2), 1).flatten(1),
    "sorting": lambda x: four(x).flatten(2).sort(-1).values.flatten(1),
    "resizing": lambda x: F.interpolate(four(x), size=(24, 24)),
    "a U": unet,
    "channels last": channels_last,
    "a gate": squeezed,
    "attention": tokens,
    "zero padding": lambda x: F.conv2d(x, torch.ones(1, 3, 3, 3).double(), padding=1),
    "numbers past torch": lambda x: four(x) + torch.from_numpy(four(x).numpy().cumsum(-1)),
    "a number past torch": lambda x: four(x) * float(x[0, 0, 0, 0]),
    "stride and mean": lambda x: down(x).relu().mean((2, 3)),
    "stripes": lambda x: four(x) * (torch.arange(16) % 2).double(),
    "diagonal stripes": lambda x: four(x) * ((torch.arange(16)[:, None] + torch.arange(16)) % 4).double(),
    "a flip": lambda x: four(x).flip(-1),
    "another branch": lambda x: four(x) if x[0, 0, 0, 0] > 0 else four(x) * 2,
    "a slice by numbers": lambda x: four(x)[:, (k := int(x[0, 0, 0, 0] > 0)) : k + 2],
    "a second output": lambda x: torch.gradient(x, dim=(1, 2))[1],
    "halves put together": by_halves,
    "a crop": lambda x: four(x).narrow(2, 4, 8),
    "pixels shuffled": nn.Sequential(nn.PixelUnshuffle(2), conv(12, 12, 1), nn.PixelShuffle(2)).eval(),
    "windows unfolded": lambda x: four(x).unfold(2, 2, 2).unfold(3, 2, 2).amax((-1, -2)),
    "a pad of nothing": lambda x: F.pad(four(x).permute(0, 2, 3, 1), (0,) * 6).permute(0, 3, 1, 2),
    "masked by infinity": lambda x: (
        four(x).flatten(2).masked_fill(four(x).flatten(2) < 0, -torch.inf).softmax(-1)
    ),
    "a spectrum": lambda x: torch.fft.fft2(x).abs().mean((2, 3)),
    "nothing": lambda x: x,
    "everything written over": lambda x: x.relu_().sub_(0.5),
}


@torch.no_grad()
def measured(model, shift):
    """By the model alone: None where no map of the output's size moves so."""
    y = model(X.clone())
    if y.dim() < 3 or y.shape[-1] == 1:
        out = "invariant"
    elif y.dim() == 3 and y.shape[-1] == 256:
        out = lambda t: t.unflatten(2, (16, 16)).roll((shift, shift), (2, 3)).flatten(2)  # noqa: E731
    else:
        out = "scaled"
    if y.dim() == 3 and y.shape[-1] == 16:
        out = lambda t: t.roll((shift, shift), (1, 2))  # noqa: E731
    if y.shape[-2:] == (8, 16):
        out = lambda t: t.roll((shift, shift), (2, 3))  # noqa: E731
    if y.shape[-1] == 24:
        if shift % 2:
            return None
        out = translate((shift * 3 // 2,) * 2)
    return equivariance_error(model, X, translate((shift, shift)), out=out).relative


@torch.no_grad()
@pytest.mark.parametrize("shift", [1, 2])
@pytest.mark.parametrize("model", FORMS.values(), ids=FORMS)
def test_the_trace_agrees_with_the_model(model, shift):
    trace = ws.trace_equivariance(model, X, shift)
    expected = measured(model, shift)
    assert (trace.error is None) == (expected is None)
    if expected is not None:
        assert trace.error == pytest.approx(expected, rel=1e-6, abs=1e-12)
        assert (trace.first_loss is None) == (expected < 1e-12)
        assert trace.at(shift) == pytest.approx(expected, rel=1e-6, abs=1e-12)
    if trace.exact_for is not None and not trace.untraced:
        assert trace.at(trace.exact_for) < 1e-12
        assert trace.at((trace.exact_for[0], 0)) < 1e-12
        assert trace.at((0, trace.exact_for[1])) < 1e-12
    json.dumps(trace.to_dict(), allow_nan=False)


def test_numbers_past_torch_are_named():
    assert ws.trace_equivariance(FORMS["numbers past torch"], X).untraced == ("numpy", "add")
    assert ws.trace_equivariance(FORMS["a number past torch"], X).untraced == ("float", "mul")
    assert not ws.trace_equivariance(FORMS["a U"], X).untraced


def test_a_checkerboard_keeps_shifts_by_two():
    trace = ws.trace_equivariance(FORMS["a checkerboard"], X)
    assert (trace.exact_for, trace.first_loss) == ((2, 2), None)  # the diagonal shift happens to be kept
    one = ws.trace_equivariance(FORMS["a checkerboard"], X, (1, 0))
    assert (one.exact_for, one.first_loss) == ((2, 0), "mul")
    assert "position embedding" in one.verdict


def test_every_axis_by_itself():
    assert ws.trace_equivariance(FORMS["stripes"], X).exact_for == (1, 2)
    assert ws.trace_equivariance(FORMS["diagonal stripes"], X).exact_for == (4, 4)


def test_another_way_for_the_moved_input():
    x = X.clone()
    x[0, 0, 0, 0], x[0, 0, -1, -1] = 1, -1
    trace = ws.trace_equivariance(FORMS["another branch"], x)
    assert (trace.followed, trace.exact_for, trace.first_loss) == (False, None, "Conv2d")
    assert trace.untraced == ("bool", "another way for the moved input")


def test_sets_with_channels():
    """A shift is one of all orders, for which the layer is equivariant."""
    points = generators.permutations(10)
    inputs, outputs = (generators.with_channels(points, channels) for channels in (4, 8))
    layer = ws.nn.SharedLinear(ws.Pattern.from_symmetry(inputs, outputs)).double()
    model = nn.Sequential(nn.Flatten(1), layer, nn.ReLU(), nn.Unflatten(1, (8, 10))).eval()
    trace = ws.trace_equivariance(model, picture(2, 4, 10))
    assert (trace.first_loss, trace.exact_for, trace.error < 1e-12) == (None, (1,), True)


def test_scripted_and_compiled_models():
    model = nn.Sequential(conv(), nn.BatchNorm2d(4).double(), nn.MaxPool2d(2)).eval()
    scripted = torch.jit.trace(model, X)
    assert ws.trace_equivariance(scripted, X, 2).error < 1e-12
    assert ws.trace_equivariance(torch.compile(model, backend="eager"), X).first_loss == "2"


def test_the_input_is_kept():
    x = X.clone()
    trace = ws.trace_equivariance(FORMS["zero padding"], x)
    before = trace.at(3)
    x.zero_()
    assert trace.at(3) == before
    assert trace.at(16) == 0


def test_blur_where_padding_stands_apart():
    weight = torch.randn(4, 3, 3, 3).double()
    model = lambda x: F.conv2d(F.pad(x, (1, 1, 1, 1), mode="circular"), weight, stride=2).relu()  # noqa: E731
    found = ws.trace_equivariance(model, X, 2).interventions()
    assert (found.effects, found.rest < 1e-12) == ((), True)


def test_half_precision():
    model = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1), nn.ReLU()).half().eval()
    trace = ws.trace_equivariance(model, (torch.randn(1, 3, 64, 64) * 1000).half())
    assert trace.first_loss == "0"


def test_the_users_input_and_torchs_hooks_are_left():
    x = X.clone()
    ws.trace_equivariance(nn.Sequential(nn.ReLU(inplace=True), same).eval(), x)
    equivariance_error(lambda t: t.relu_(), x, translate((1, 1)))
    assert torch.equal(x, X)
    assert not torch.nn.modules.module._global_forward_hooks_with_kwargs


def test_modules_that_a_function_calls_have_their_names():
    model = nn.Sequential(conv(), nn.Sequential(nn.ReLU(), nn.MaxPool2d(2))).eval()
    assert ws.trace_equivariance(lambda x: model(x), X).first_loss == "1.1"


def test_sizes_that_are_no_multiple_of_the_stride():
    trace = ws.trace_equivariance(nn.Sequential(down).eval(), picture(1, 3, 15, 15), 2)
    assert trace.rows[0].causes == ("uneven size", "stride")
