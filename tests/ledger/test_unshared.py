"""`unshared` follows from the convolutions that ran: their kernels, biases and output positions."""

import json
import os
import subprocess
import sys

import pytest
import torch
import torch.ao.quantization as quantization
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import weightshare as ws

KERNEL = 4 * 3 * 9
IMAGE = (1, 3, 8, 8)


class Functional(nn.Module):
    """A module that computes `function(self, *inputs)` with its own parameters or submodules."""

    def __init__(self, function, **parts):
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, nn.Parameter(torch.randn(part)) if isinstance(part, tuple) else part)

    def forward(self, *inputs):
        return self.function(self, *inputs)


def summarize(model, *shape):
    return ws.summary(model, torch.zeros(shape or IMAGE))


def same(layer, x):
    """Pad in the forward pass, as TensorFlow's "same"."""
    return F.conv2d(F.pad(x, (1, 1, 1, 1)), layer.weight, layer.bias)


class Same(nn.Conv2d):
    def forward(self, input):
        return same(self, input)


class Sizes(nn.Module):
    """A layer that is called with three sizes, the largest one first."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x):
        return [self.layer(each) for each in (F.pad(x, (1, 1, 1, 1)), x, x[..., :4])]


def standardize(weight):
    return (weight - weight.mean()) / weight.std()


def kernel(function, **parts):
    return Functional(lambda m, x: F.conv2d(x, function(m), m.bias), **{"bias": (4,), **parts})


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (Same(3, 4, 3), (KERNEL + 4) * 64),
        (Sizes(), (3 * 27 + 3) * 100),
        (nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular"), (KERNEL + 4) * 64),
        (nn.Conv2d(3, 4, 3, stride=2, dilation=2, bias=False), KERNEL * 4),
        (nn.Conv2d(3, 6, 3, groups=3), (6 * 9 + 6) * 36),
        (nn.ConvTranspose2d(3, 4, 3, stride=2), KERNEL * 64 + 4),
        (nn.LazyConv2d(4, 3), (KERNEL + 4) * 36),
        (nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last), (KERNEL + 4) * 36),
        (nn.Sequential(nn.Linear(8, 8), nn.BatchNorm2d(3)), 72 + 6),
        (kernel(lambda m: m.weight, weight=(4, 3, 3, 3)), (KERNEL + 4) * 36),
        (kernel(lambda m: standardize(m.weight), weight=(4, 3, 3, 3)), (KERNEL + 4) * 36),
        (kernel(lambda m: m.child.weight, child=nn.Conv2d(3, 4, 3, bias=False)), (KERNEL + 4) * 36),
        (kernel(lambda m: m.weight[1], weight=(3, 4, 3, 3, 3)), (KERNEL + 4) * 36 + 2 * KERNEL),
        (
            kernel(lambda m: m.weight + m.other, weight=(4, 3, 3, 3), other=(4, 1, 1, 1)),
            (KERNEL + 4) * 36 + 4,
        ),
    ],
)
def test_convolutions(model, expected):
    answer = summarize(nn.Sequential(model))
    assert answer.totals.unshared == expected
    assert answer.warnings == ()


@pytest.mark.parametrize("scale", ["in place", "new"])
def test_a_bias_that_is_added_after_the_convolution(scale):
    def add(m, x):
        output, bias = F.conv2d(x, m.weight), m.bias.view(-1, 1, 1)
        return output.add_(bias) if scale == "in place" else output + bias

    model = Functional(add, weight=(4, 3, 3, 3), bias=(4,))
    assert summarize(model).totals.unshared == (KERNEL + 4) * 36


def test_a_tensor_that_is_added_elsewhere_is_not_a_bias():
    class Shift(nn.Module):
        def __init__(self):
            super().__init__()
            self.shift = nn.Parameter(torch.zeros(4, 1, 1))

        def forward(self, x):
            return x + self.shift

    model = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), Shift())
    assert summarize(model).totals.unshared == KERNEL * 36 + 4


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("convert", ["trace", "script", "fx", "export"])
def test_converted_models(convert):
    model, x = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), torch.zeros(IMAGE)
    converted = {
        "trace": lambda: torch.jit.trace(model, x),
        "script": lambda: torch.jit.script(model),
        "fx": lambda: torch.fx.symbolic_trace(model),
        "export": lambda: torch.export.export(model, (x,)).module(),
    }[convert]()
    answer = ws.summary(converted, x)
    assert (answer.totals.unshared, answer.warnings) == ((KERNEL + 4) * 36, ())


def test_two_convolutions_in_one_module():
    def run(m, x):
        return F.conv_transpose2d(F.conv2d(F.conv2d(x, m.first), m.second), m.second)

    model = Functional(run, first=(4, 3, 3, 3), second=(2, 4, 3, 3))
    assert summarize(model).totals.unshared == KERNEL * 36 + 2 * 4 * 9 * 16


def test_one_dimension_and_the_layout_of_conv_tbc():
    assert summarize(nn.Conv1d(3, 4, 4, padding="same"), 3, 8).totals.unshared == (48 + 4) * 8
    model = Functional(lambda m, x: torch.conv_tbc(x, m.weight, m.bias, 1), weight=(3, 3, 4), bias=(4,))
    answer = summarize(model, 5, 2, 3)
    assert (answer.totals.unshared, answer.totals.macs) == ((36 + 4) * 5, 5 * 2 * 36)


def test_autocast_and_the_meta_device():
    model = nn.Conv2d(3, 4, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert summarize(model).totals.unshared == (KERNEL + 4) * 36
    assert ws.summary(model.to("meta"), torch.zeros(IMAGE, device="meta")).totals.unshared == 4032


@pytest.mark.parametrize(
    ("function", "parts", "where"),
    [
        (lambda m, x: F.conv2d(x, m.a(x.mean((2, 3))).view(4, 3, 3, 3)), {"a": nn.Linear(3, KERNEL)}, ""),
        (lambda m, x: F.conv2d(x, m.a * x.mean()), {"a": (4, 3, 3, 3)}, ""),
        (lambda m, x: F.conv2d(x, (m.a @ m.b).view(4, 3, 3, 3)), {"a": (4, 2), "b": (2, 27)}, ""),
        (lambda m, x: m.a @ F.unfold(x, 3), {"a": (4, 27)}, ""),
        (lambda m, x: m.a(F.unfold(x, 3).transpose(1, 2)), {"a": nn.Linear(27, 4)}, "a"),
        (
            lambda m, x: torch.einsum("bchwij,ocij->bohw", x.unfold(2, 3, 1).unfold(3, 3, 1), m.a),
            {"a": (4, 3, 3, 3)},
            "",
        ),
    ],
)
def test_what_cannot_be_unshared_is_reported(function, parts, where):
    answer = summarize(Functional(function, **parts))
    (note,) = answer.warnings
    assert (note.code, note.names) == ("NOT_UNSHARED", (where or "the model itself",))
    assert note.text.startswith(f"{note.names[0]}: convolutions that `unshared` counts unchanged")
    assert answer.totals.unshared == answer.totals.unique


@pytest.mark.parametrize(
    "model",
    [
        Functional(lambda m, x: F.conv2d(x, torch.ones(3, 1, 3, 3), groups=3)),  # not parameters
        Functional(lambda m, x: m.a(F.unfold(x, 3).mean(1)), a=nn.Linear(36, 4)),  # a pooling
        Functional(lambda m, x: m.a(x.unfold(3, 4, 4)), a=nn.Linear(4, 4)),  # no overlap
    ],
)
def test_no_convolution_with_parameters(model):
    answer = summarize(model)
    assert (answer.totals.unshared, answer.warnings) == (answer.totals.unique, ())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("layer", "unshared", "macs"),
    [
        (nn.Conv2d(3, 4, 3), (KERNEL + 4) * 36, KERNEL * 36),
        (nn.ConvTranspose2d(3, 4, 3), KERNEL * 64 + 4, KERNEL * 64),
        (nn.Linear(8, 5), 45, 3 * 8 * 40),
    ],
)
def test_quantized_layers(layer, unshared, macs):
    model = nn.Sequential(quantization.QuantStub(), layer, quantization.DeQuantStub()).eval()
    model.qconfig = quantization.QConfig(quantization.default_observer, quantization.default_weight_observer)
    prepared = quantization.prepare(model)
    prepared(torch.randn(IMAGE))
    answer = summarize(quantization.convert(prepared))
    assert (answer.totals.unshared, answer.totals.macs, answer.warnings) == (unshared, macs, ())


KERAS = """
import json, keras, torch
import weightshare as ws
layers = keras.layers
found = []
for layer in (
    layers.Conv2D(4, 3, strides=2, padding="same", activation="relu"),
    layers.DepthwiseConv2D(3, depth_multiplier=2),
    layers.SeparableConv2D(4, 3),
    layers.Conv2D(4, 3, use_bias=False),
    layers.Conv2DTranspose(4, 3, 2),
    layers.Conv2D(6, 3, groups=3),
):
    inputs = keras.Input((8, 8, 3))
    answer = ws.summary(keras.Model(inputs, layer(inputs)), torch.zeros(1, 8, 8, 3))
    found.append([answer.totals.unshared, answer.totals.macs, len(answer.warnings)])
for layer in (layers.Conv2D(4, 3, use_bias=False), layers.DepthwiseConv2D(3, use_bias=False)):
    layer.build((None, 8, 8, 3))
    answer = ws.summary(torch.nn.Sequential(layer))
    found.append(str(answer.reconcile(answer.totals.unique + layer.compute_output_shape((1, 8, 8, 3))[-1])))
print(json.dumps(found))
"""


@pytest.mark.long
def test_layers_of_keras():
    environment = {**os.environ, "KERAS_BACKEND": "torch"}
    completed = subprocess.run([sys.executable, "-c", KERAS], capture_output=True, text=True, env=environment)
    assert completed.returncode == 0, completed.stderr
    assert json.loads(completed.stdout.splitlines()[-1]) == [
        [(KERNEL + 4) * 16, KERNEL * 16, 0],
        [(54 + 6) * 36, 54 * 36, 0],
        [(27 + 12 + 4) * 36, (27 + 12) * 36, 0],
        [KERNEL * 36, KERNEL * 36, 0],
        [KERNEL * 64 + 4, KERNEL * 64, 0],
        [(54 + 6) * 36, 54 * 36, 0],
        "112 = 108 + 4 convolution biases",
        "30 = 27 + 3 convolution biases",
    ]


@st.composite
def convolutions(draw):
    ndim, groups = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    small = st.integers(1, 3)
    transposed = draw(st.booleans())
    kind = getattr(nn, f"Conv{'Transpose' * transposed}{ndim}d")
    channels = [groups * draw(small) for _ in range(2)]
    more = {name: draw(small) for name in ("stride", "dilation")}
    kernel = tuple(draw(small) for _ in range(ndim))
    padding = draw(st.integers(0, 1))
    return kind(*channels, kernel, padding=padding, groups=groups, bias=draw(st.booleans()), **more)


@given(convolutions(), st.data())
def test_recorded_and_closed_form_counts_agree(layer, data):
    size = tuple(data.draw(st.integers(7, 9)) for _ in layer.kernel_size)
    expected = ws.explain(layer, size).by_sharing["local"]
    assert ws.summary(layer, input_shape=(layer.in_channels, *size)).totals.unshared == expected


def test_quantization_aware_training_before_its_first_pass():
    """The first pass gives the empty buffers of the observers their size."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).train()
    model.qconfig = quantization.get_default_qat_qconfig("fbgemm")
    model = quantization.prepare_qat(quantization.fuse_modules_qat(model, [["0", "1", "2"]]))
    answers = [ws.summary(model, torch.zeros(IMAGE)) for _ in range(2)]
    assert [answer.totals.unshared for answer in answers] == [112 * 36 + 8] * 2
    assert not answers[0].warnings


def test_a_convolution_that_cannot_be_unshared_is_counted_without_change():
    """Its kernel is computed from the input."""
    model = Functional(lambda self, x: F.conv2d(x, x[:, :, :3, :3].expand(4, 3, 3, 3), self.bias), bias=(4,))
    answer = ws.summary(model, torch.zeros(IMAGE))
    assert answer.totals.unshared == answer.totals.unique == 4
    assert [note.code for note in answer.warnings] == ["NOT_UNSHARED"]
