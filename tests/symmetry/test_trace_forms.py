"""The trace agrees with the error measured on the whole model, however the model is written."""

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


class Monitored(nn.Module):
    """Computes a statistic of its output that does not contribute to the result."""

    def __init__(self):
        super().__init__()
        self.conv = conv(3, 3)

    def forward(self, x):
        y = self.conv(x)
        self.mean = y.mean()
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


def assembled_from_halves(x):
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
    "multiplying by booleans": lambda x: four(x) * (four(x) > 0),
    "where": lambda x: torch.where(four(x) > 0, four(x), 0.0),
    "an unused statistic": Monitored().eval(),
    "writing through a view": through_a_view,
    "writing into a part": a_half,
    "assembling channels in a constant": assembled,
    "out=": lambda x: torch.mul(four(x), 2, out=pieces),
    "a forward hook": Hooked().eval(),
    "a checkerboard": lambda x: four(x) * checkerboard,
    "selecting channels": lambda x: four(x)[:, [2, 1, 0]],
    "selecting one channel": lambda x: four(x).select(1, 0),
    "multiplying by a matrix from the left": lambda x: torch.ones(2, 4).double() @ four(x).flatten(2),
    "a branch that does not reach the output": lambda x: (
        F.conv2d(x, torch.ones(1, 3, 3, 3).double(), padding=1).mean(),
        four(x),
    )[1],
    "pooling twice": lambda x: F.adaptive_avg_pool2d(F.avg_pool2d(four(x), 2), 1).flatten(1),
    "sorting": lambda x: four(x).flatten(2).sort(-1).values.flatten(1),
    "resizing": lambda x: F.interpolate(four(x), size=(24, 24)),
    "a U-Net": unet,
    "channels last": channels_last,
    "squeeze and excitation": squeezed,
    "attention": tokens,
    "zero padding": lambda x: F.conv2d(x, torch.ones(1, 3, 3, 3).double(), padding=1),
    "values through numpy": lambda x: four(x) + torch.from_numpy(four(x).numpy().cumsum(-1)),
    "a value through Python": lambda x: four(x) * float(x[0, 0, 0, 0]),
    "stride and mean": lambda x: down(x).relu().mean((2, 3)),
    "stripes": lambda x: four(x) * (torch.arange(16) % 2).double(),
    "diagonal stripes": lambda x: four(x) * ((torch.arange(16)[:, None] + torch.arange(16)) % 4).double(),
    "a flip": lambda x: four(x).flip(-1),
    "a branch that depends on the input": lambda x: four(x) if x[0, 0, 0, 0] > 0 else four(x) * 2,
    "a slice that depends on the input": lambda x: four(x)[:, (k := int(x[0, 0, 0, 0] > 0)) : k + 2],
    "a second output": lambda x: torch.gradient(x, dim=(1, 2))[1],
    "assembling halves of the map": assembled_from_halves,
    "a crop": lambda x: four(x).narrow(2, 4, 8),
    "pixel shuffle": nn.Sequential(nn.PixelUnshuffle(2), conv(12, 12, 1), nn.PixelShuffle(2)).eval(),
    "unfolding windows": lambda x: four(x).unfold(2, 2, 2).unfold(3, 2, 2).amax((-1, -2)),
    "padding by zero elements": lambda x: F.pad(four(x).permute(0, 2, 3, 1), (0,) * 6).permute(0, 3, 1, 2),
    "masking by infinity": lambda x: (
        four(x).flatten(2).masked_fill(four(x).flatten(2) < 0, -torch.inf).softmax(-1)
    ),
    "Fourier transform": lambda x: torch.fft.fft2(x).abs().mean((2, 3)),
    "identity": lambda x: x,
    "writing into the input": lambda x: x.relu_().sub_(0.5),
}


@torch.no_grad()
def measured(model, shift):
    """Return the error measured on the whole model; None if the shift is undefined at the output."""
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
    if model is FORMS["a flip"]:  # its positions move the other way, so no stride is measured
        out = translate((shift, shift))
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


def test_operations_that_take_values_out_of_torch_are_named():
    assert ws.trace_equivariance(FORMS["values through numpy"], X).untraced == ("numpy", "add")
    assert ws.trace_equivariance(FORMS["a value through Python"], X).untraced == ("float", "mul")
    assert not ws.trace_equivariance(FORMS["a U-Net"], X).untraced


def test_a_checkerboard_preserves_multiples_of_2():
    trace = ws.trace_equivariance(FORMS["a checkerboard"], X)
    assert (trace.exact_for, trace.first_loss) == ((2, 2), None)  # the diagonal shift by 1 maps it to itself
    one = ws.trace_equivariance(FORMS["a checkerboard"], X, (1, 0))
    assert (one.exact_for, one.first_loss) == ((2, 0), "mul")
    assert "position embedding" in one.verdict


def test_each_axis_is_measured_alone():
    assert ws.trace_equivariance(FORMS["stripes"], X).exact_for == (1, 2)
    assert ws.trace_equivariance(FORMS["diagonal stripes"], X).exact_for == (4, 4)


def test_a_model_that_takes_another_path_for_the_shifted_input():
    x = X.clone()
    x[0, 0, 0, 0], x[0, 0, -1, -1] = 1, -1
    trace = ws.trace_equivariance(FORMS["a branch that depends on the input"], x)
    assert (trace.followed, trace.exact_for, trace.first_loss) == (False, None, "Conv2d")
    assert trace.untraced == ("bool", "the other path taken for the shifted input")


def test_a_shared_linear_layer_on_sets_with_channels():
    """The layer is equivariant to all permutations, and a circular shift is one of them."""
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


def test_later_changes_of_the_input_have_no_effect():
    x = X.clone()
    trace = ws.trace_equivariance(FORMS["zero padding"], x)
    before = trace.at(3)
    x.zero_()
    assert trace.at(3) == before
    assert trace.at(16) == 0


def test_a_convolution_that_is_padded_by_another_operation_is_not_blurred():
    weight = torch.randn(4, 3, 3, 3).double()
    model = lambda x: F.conv2d(F.pad(x, (1, 1, 1, 1), mode="circular"), weight, stride=2).relu()  # noqa: E731
    found = ws.trace_equivariance(model, X, 2).interventions()
    assert (found.effects, found.rest < 1e-12) == ((), True)


def test_a_quantized_model():
    quantization = torch.ao.quantization
    layers = [nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 1)]
    model = nn.Sequential(quantization.QuantStub(), *layers, quantization.DeQuantStub()).eval()
    model.qconfig = quantization.get_default_qconfig()
    quantization.prepare(model, inplace=True)(X.float())
    quantization.convert(model, inplace=True)
    trace = ws.trace_equivariance(model, X.float())
    expected = equivariance_error(model, X.float(), translate((1, 1))).relative
    assert trace.error == pytest.approx(expected)
    assert (trace.exact_along, trace.first_loss) == ((0, 0), "1")


def test_half_precision():
    model = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1), nn.ReLU()).half().eval()
    trace = ws.trace_equivariance(model, (torch.randn(1, 3, 64, 64) * 1000).half())
    assert trace.first_loss == "0"


def test_the_input_and_the_global_hooks_are_unchanged():
    x = X.clone()
    ws.trace_equivariance(nn.Sequential(nn.ReLU(inplace=True), same).eval(), x)
    equivariance_error(lambda t: t.relu_(), x, translate((1, 1)))
    assert torch.equal(x, X)
    assert not torch.nn.modules.module._global_forward_hooks_with_kwargs


def test_modules_called_by_a_function_keep_their_names():
    model = nn.Sequential(conv(), nn.Sequential(nn.ReLU(), nn.MaxPool2d(2))).eval()
    assert ws.trace_equivariance(lambda x: model(x), X).first_loss == "1.1"


def test_a_size_that_is_not_a_multiple_of_the_stride():
    trace = ws.trace_equivariance(nn.Sequential(down).eval(), picture(1, 3, 15, 15), 2)
    assert trace.rows[0].causes == ("uneven size", "stride")
