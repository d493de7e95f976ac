"""The native backend agrees with the oracle on every instruction set, and cannot break the process."""

import itertools
import os
import subprocess
import sys
import threading

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from weightshare import Full, Local, Mapped, Tiled, nn, reference
from weightshare.backends import native
from weightshare.errors import ArgumentError, ShapeError
from weightshare.geometry import Window
from weightshare.testing.strategies import layers, transposed_layers

with native.force("on"):
    INSTRUCTION_SETS = native.get_status().runnable
BATCHES = (0, 1, 2, 3, 5, 15, 16, 17, 33)
slow = settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))

pytestmark = pytest.mark.skipif(not INSTRUCTION_SETS, reason="the package was installed without a C compiler")


@pytest.fixture(autouse=True)
def on():
    """Turn the backend on, whatever the environment."""
    with native.force("on"):
        yield


each_set = pytest.mark.parametrize("instruction_set", INSTRUCTION_SETS)


@st.composite
def wide_layers(draw, kind=layers, **fixed):
    """Draw a layer with enough channels for several vectors and a remainder; half of them share nothing."""
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    several = st.sampled_from([1, 2, 3, 4, 5, 8, 16, 17, 33])
    channels = {"in_channels": groups * draw(several), "out_channels": groups * draw(several)}
    if draw(st.booleans()):
        fixed["sharing"] = Local()
    layer = draw(kind(groups=groups, **channels, **fixed))
    assume(layer.sharing.one_hot and layer.sharing != Full())
    return layer


def draw_input(layer, batch, **form):
    return torch.randn(batch, layer.in_channels, *layer.input_size, dtype=layer.weight.dtype, **form)


def get_results(function, layer, x):
    """Return the output and the gradients of input and weight."""
    y = function(x)
    direction = torch.linspace(-1, 1, y.numel(), dtype=torch.float64).to(y.dtype).view(y.shape)
    return (y, *torch.autograd.grad(y, [x, layer.weight], direction))


def build(*arguments, dtype=torch.float32, **keywords):
    torch.manual_seed(0)
    layer = nn.Conv2d(*arguments, sharing=Local(), dtype=dtype, **keywords)
    assert native.load() is not None
    return layer


def check_set(instruction_set, layer, batch):
    """Compare the results of an instruction set with those of torch operators, in float32."""
    x, results = draw_input(layer, batch).requires_grad_(), []
    for name in (instruction_set, "off"):
        with native.force(name):
            results.append(get_results(layer, layer, x))
    for got, expected in zip(*results):
        scale = expected.abs().max().item()
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5 * scale)


# -- values -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [layers, transposed_layers], ids=["layer", "transposed"])
@each_set
def test_results_equal_the_oracle(instruction_set, kind):
    @slow
    @given(wide_layers(kind), st.sampled_from(BATCHES), st.booleans())
    def check(layer, batch, channels_last):
        batch = max(batch, int(layer.transposed))  # the oracle cannot transpose an empty batch
        x = draw_input(layer, batch)
        if channels_last:
            x = x.movedim(1, -1).contiguous().movedim(-1, 1)
        x.requires_grad_()
        with native.force(instruction_set):
            got = get_results(layer, layer, x)
        for a, b in zip(got, get_results(lambda v: reference.output(layer, v), layer, x)):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)

    check()


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 5e-2), (torch.float16, 1e-2)], ids=str
)
@each_set
def test_other_dtypes(instruction_set, dtype, tolerance):
    @settings(slow, max_examples=15)
    @given(wide_layers(bias=False), st.sampled_from(BATCHES))
    def check(layer, batch):
        x = draw_input(layer, batch).to(dtype)
        with torch.no_grad():
            layer.weight.copy_(layer.weight.to(dtype))
        exact = x.double().requires_grad_()
        expected = get_results(lambda v: reference.output(layer, v), layer, exact)
        layer.to(dtype)
        with native.force(instruction_set):
            got = get_results(layer, layer, x.requires_grad_())
        for a, b in zip(got, expected):
            scale = max(1.0, b.abs().max().item()) if b.numel() else 1.0
            assert a.dtype == dtype
            torch.testing.assert_close(a.double(), b, rtol=tolerance, atol=tolerance * scale)

    check()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@each_set
def test_sixteen_bit_results_are_rounded_once(instruction_set, dtype):
    """Sums are computed in float32, so the result is that of float32 operands, rounded."""
    layer = build(3, 8, 3, input_size=9, bias=False).to(dtype)
    x = draw_input(layer, 6).requires_grad_()
    with native.force(instruction_set):
        got = get_results(layer, layer, x)
        wide = build(3, 8, 3, input_size=9, bias=False)
        wide.weight.data.copy_(layer.weight)
        y = wide(x.float())
        direction = torch.linspace(-1, 1, y.numel(), dtype=torch.float64).to(dtype).float().view(y.shape)
        big = x.detach().float().requires_grad_()
        expected = (y, *torch.autograd.grad(wide(big), [big, wide.weight], direction))
    for a, b in zip(got, expected):
        assert torch.equal(a, b.to(dtype))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@each_set
def test_sixteen_bit_conversions_are_those_of_torch(instruction_set, dtype):
    """A layer with one weight of 1 copies every number: all 65,536 bit patterns."""
    values = torch.arange(-(2**15), 2**15, dtype=torch.int16).view(dtype).view(1, 1, 256, 256)
    layer = nn.Conv2d(1, 1, 1, bias=False, sharing=Local(), input_size=256).to(dtype)
    with native.force(instruction_set), torch.no_grad():
        got = layer.requires_grad_(False)
        got.weight.fill_(1)
        result = got(values)
    assert torch.equal(result.isnan(), values.isnan())
    assert torch.equal(result.nan_to_num(0), (values.float() * 1).to(dtype).nan_to_num(0))


@each_set
def test_nan_and_infinity_reach_exactly_the_results_that_use_them(instruction_set):
    layer = build(4, 20, 3, input_size=8, bias=False)
    for batch in (1, 2, 16, 33):
        for value in (float("nan"), float("inf")):
            x, weight = draw_input(layer, batch), layer.weight.detach().clone()
            x[0, 1, 4, 5] = value
            weight[7, 1, 1, 2, 3] = value
            x.requires_grad_()
            weight.requires_grad_()
            results = []
            for name in (instruction_set, "off"):
                with native.force(name):
                    y = torch.func.functional_call(layer, {"weight": weight}, (x,))
                    results.append((y, *torch.autograd.grad(y, [x, weight], torch.ones_like(y))))
            for got, expected in zip(*results):
                torch.testing.assert_close(got, expected, equal_nan=True, rtol=1e-4, atol=1e-4)
                assert not got.isfinite().all()


@each_set
def test_large_shared_layers_of_every_form(instruction_set):
    """Gradients of banks with several blocks of positions, rows and segments."""
    cases = [
        (1, 24, 40, 20, Tiled(2), {}),
        (16, 96, 64, 24, Tiled(3), {"padding": 1}),
        (3, 130, 33, 12, Mapped([[(i + j) % 3 for j in range(12)] for i in range(12)]), {"padding": 1}),
        (20, 16, 48, 30, Tiled((1, 28)), {"padding": (0, 1), "dilation": (1, 2), "stride": (2, 1)}),
        (2, 48, 96, 16, Tiled(2), {"groups": 3}),
    ]
    for batch, channels, out, size, sharing, more in cases:
        layer = nn.Conv2d(channels, out, 3, sharing=sharing, input_size=size, bias=False, **more)
        check_set(instruction_set, layer, batch)


@each_set
def test_nan_and_infinity_in_depthwise_layers(instruction_set):
    """Zeros that pad the rows are not multiplied with weights of other positions."""
    layer = build(4, 4, 3, input_size=(6, 35), padding=1, groups=4, bias=False)
    x, weight = draw_input(layer, 9), layer.weight.detach().clone()
    x[:, :, 0, 0], x[:, :, 3, 34] = float("nan"), float("inf")
    weight[0], weight[69] = float("inf"), float("nan")
    x.requires_grad_()
    weight.requires_grad_()
    results = []
    for name in (instruction_set, "off"):
        with native.force(name):
            y = torch.func.functional_call(layer, {"weight": weight}, (x,))
            results.append((y, *torch.autograd.grad(y, [x, weight], torch.ones_like(y))))
    for got, expected in zip(*results):
        assert 0 < got.isfinite().float().mean() < 1
        torch.testing.assert_close(got, expected, equal_nan=True, rtol=1e-4, atol=1e-4)


@each_set
def test_large_layers_of_every_form(instruction_set):
    """Sizes with several blocks of weights, many vectors, and gradients that bypass the caches."""
    cases = [
        (1, 64, 256, 9, 3, {}),
        (3, 40, 300, 6, 3, {"padding": 1}),
        (16, 96, 64, 7, 3, {"padding": 1}),
        (40, 8, 24, 20, 5, {"stride": 2}),
        (20, 64, 32, 34, 3, {"dilation": 2}),
        (6, 48, 48, 12, 3, {"groups": 48}),
        # positions of a line as vectors: a whole number of vectors per line, whose results bypass the caches
        (33, 32, 32, 32, 3, {"groups": 32, "padding": 1}),
        # single pixels, as one line of several segments
        (9, 4, 2, 40, 1, {}),
        # more channels, with images that are read where they are and images that are copied
        (17, 4, 8, 67, 3, {}),
        (7, 8, 4, 66, 3, {"padding": 1}),
        # strides along the line, dilations, and lines that are shorter than a vector
        (5, 20, 40, 37, 3, {"groups": 20, "padding": 2, "stride": (1, 2), "dilation": (1, 2)}),
        (3, 17, 17, 7, 3, {"groups": 17, "padding": 1, "dilation": (2, 1)}),
    ]
    for batch, channels, out, size, kernel, more in cases:
        layer = build(channels, out, kernel, input_size=size, bias=False, **more)
        check_set(instruction_set, layer, batch)


@slow
@given(wide_layers(bias=False), st.integers(1, 3))
def test_second_derivatives(layer, batch):
    x = draw_input(layer, batch).requires_grad_()

    def curvature(function):
        first = torch.autograd.grad((function(x) ** 3).sum(), [x, layer.weight], create_graph=True)
        return torch.autograd.grad(sum((g**2).sum() for g in first), [x, layer.weight])

    for got, expected in zip(curvature(layer), curvature(lambda v: reference.output(layer, v))):
        torch.testing.assert_close(got, expected, rtol=1e-8, atol=1e-8 * max(1, expected.abs().max().item()))


# -- forms of tensors -------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", BATCHES[1:])
def test_strides_do_not_matter(batch):
    layer = build(6, 16, 3, input_size=(7, 8), padding=1)
    x = draw_input(layer, batch)
    expected = layer(x)
    wide = torch.zeros(batch, 12, 9, 16)
    wide[:, ::2, 1:8, ::2] = x
    forms = [
        wide[:, ::2, 1:8, ::2],
        x.flip(0).flip(0),
        x.transpose(2, 3).contiguous().transpose(2, 3),
        x.contiguous(memory_format=torch.channels_last),
        torch._neg_view(-x),
    ]
    for form in forms:
        got = layer(form)
        torch.testing.assert_close(got, expected)
    assert layer(forms[3]).is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(layer(x[:1].expand(batch, -1, -1, -1)), layer(x[:1].repeat(batch, 1, 1, 1)))


@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d], ids=["layer", "transposed"])
def test_an_empty_batch(kind):
    layer = kind(4, 8, 3, padding=1, sharing=Local(), input_size=6)
    y, for_x, for_weight = get_results(layer, layer, draw_input(layer, 0, requires_grad=True))
    assert (y.shape, for_x.shape) == ((0, 8, 6, 6), (0, 4, 6, 6))
    assert torch.equal(for_weight, torch.zeros_like(layer.weight))


def test_gradients_of_channels_last_outputs():
    layer = build(6, 16, 3, input_size=(7, 8))
    x = draw_input(layer, 5).contiguous(memory_format=torch.channels_last).requires_grad_()
    y = layer(x)
    for form in (torch.contiguous_format, torch.channels_last):
        grad = torch.ones_like(y).contiguous(memory_format=form)
        got = torch.autograd.grad(y, [x, layer.weight], grad, retain_graph=True)
        with native.force("off"):
            expected = torch.autograd.grad(layer(x), [x, layer.weight], grad)
        for a, b in zip(got, expected):
            torch.testing.assert_close(a, b)
            assert a.stride() == b.stride()


def test_padding_modes_and_autocast():
    for mode in ("zeros", "reflect", "replicate", "circular"):
        layer = build(3, 8, 3, padding=1, padding_mode=mode, input_size=6)
        x = draw_input(layer, 2)
        torch.testing.assert_close(layer(x), reference.output(layer, x), rtol=1e-4, atol=1e-4)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = layer(x)
        assert y.dtype == torch.bfloat16
        torch.testing.assert_close(y.float(), layer(x), rtol=5e-2, atol=5e-2)


def test_operands_that_do_not_fit_are_refused():
    layer = build(3, 8, 3, input_size=6, bias=False)
    text, weight = layer._backend.text, layer.weight.detach()
    x, y = torch.randn(2, 3, 6, 6), torch.randn(2, 8, 4, 4)
    operators = torch.ops.weightshare
    for bad in (weight[1:], weight[:, :2], weight[..., :2, :]):
        with pytest.raises(ShapeError, match="weight must be"):
            operators.output(x, bad.contiguous(), text)
    with pytest.raises(ShapeError, match="weight must be"):
        operators.weight_grad(x, y[:, :4].contiguous(), text, weight.shape)
    with pytest.raises(ShapeError, match="weight must be"):
        operators.input_grad(y[:, :4], weight, text, x.shape)


def test_sizes_that_overflow_are_refused():
    window = Window(1, 1, 0, 1, ndim=1)
    huge = torch.empty(1).expand(2**20, 2**20, 2**20)
    weight = torch.empty(1).expand(2**20, 1, 2**20, 1)
    with pytest.raises(ArgumentError, match="62-bit addresses"):
        native.check_sizes((huge.shape, weight.shape, (2**20, 1, 2**20)), (window.kernel_size,), 1)


# -- threads and processes --------------------------------------------------------------------------------


@each_set
def test_the_number_of_threads_changes_no_bit(instruction_set):
    before = torch.get_num_threads()
    try:
        kinds = ((1, Local()), (8, Local()), (1, Tiled(2)))
        for batch, (groups, sharing) in itertools.product((1, 2, 15, 16, 33), kinds):
            out = 8 if groups == 8 else 16
            layer = nn.Conv2d(8, out, 3, 1, 1, 1, groups, bias=False, sharing=sharing, input_size=20)
            x = draw_input(layer, batch).requires_grad_()
            results = []
            for threads in (1, 2, 3):
                torch.set_num_threads(threads)
                with native.force(instruction_set):
                    results.append(get_results(layer, layer, x))
            for other in results[1:]:
                assert all(torch.equal(a, b) for a, b in zip(results[0], other))
    finally:
        torch.set_num_threads(before)


def test_many_threads_compute_at_once():
    layer = build(8, 16, 3, input_size=12, bias=False)
    inputs = [draw_input(layer, n) for n in range(1, 9)]
    with torch.no_grad():
        expected, wrong = [layer(x) for x in inputs], []

    def work(number):
        with torch.no_grad():
            for _ in range(30):
                if not torch.equal(layer(inputs[number]), expected[number]):
                    wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not wrong


FORK = """
import os, torch, weightshare as ws
layer = ws.nn.Conv2d(8, 16, 3, sharing=ws.Local(), input_size=20)
x = torch.randn(16, 8, 20, 20)
expected = layer(x)
child = os.fork()
if child == 0:
    torch.set_num_threads(1)  # as the workers of a DataLoader do
    os._exit(0 if torch.equal(layer(x), expected) else 1)
assert os.waitpid(child, 0)[1] == 0
assert torch.equal(layer(x), expected)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_forked_process_computes_the_same():
    subprocess.run([sys.executable, "-c", FORK], check=True, timeout=120)


# -- loading ----------------------------------------------------------------------------------------------


def test_off_uses_the_portable_backend():
    layer = build(3, 8, 3, input_size=6)
    x = draw_input(layer, 2)
    with native.force("off"):
        assert native.load() is None
        assert native.get_status().reason == "turned off by WEIGHTSHARE_NATIVE=off"
        expected = layer(x)
    torch.testing.assert_close(layer(x), expected)
    assert native.get_status().instruction_set == INSTRUCTION_SETS[0]


def test_loading_needs_no_mode_of_torch():
    with native.force(INSTRUCTION_SETS[0]), torch.device("meta"):
        assert native.load() is not None
    layer = build(3, 8, 3, input_size=6)
    x = draw_input(layer, 2)
    with torch.device("meta"):
        y = layer(x)
    torch.testing.assert_close(y, layer(x))
    assert F.relu(y).device.type == "cpu"
