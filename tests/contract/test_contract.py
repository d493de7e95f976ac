"""Every layer, sharing and dtype passes `check_layer`, which names the first failure of a broken layer."""

import pytest
import torch

from weightshare import Full, Local, LowRank, Mapped, Pattern, Regional, SharedAlong, Tiled, nn
from weightshare.backends.exportable import is_portable
from weightshare.errors import ArgumentError
from weightshare.pattern import generators
from weightshare.testing import check_layer

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
CONVOLUTIONS = [nn.Conv1d, nn.Conv2d, nn.Conv3d]
TRANSPOSED = [nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d]
LOCALLY_CONNECTED = [nn.LocallyConnected1d, nn.LocallyConnected2d, nn.LocallyConnected3d]
#: Input size by number of axes; with kernel 3 and padding 1, also the number of positions per axis.
SIZE = {1: 9, 2: 6, 3: 4}


def labels(ndim):
    grid = torch.cartesian_prod(*[torch.arange(SIZE[ndim])] * ndim).view(*[SIZE[ndim]] * ndim, -1)
    return grid.sum(-1).square() % 3 % 2


def sharings(ndim):
    some = [Full(), Tiled(2), Regional(2), SharedAlong(0), Mapped(labels(ndim))]
    return [*some, LowRank(2), LowRank(2, "free"), Local()]


def named(value):
    if isinstance(value, torch.dtype):
        return str(value).removeprefix("torch.")
    return value.__name__ if isinstance(value, type) else str(value).partition("<")[0]


LAYERS = [(kind, sharing) for kind in CONVOLUTIONS + TRANSPOSED for sharing in sharings(kind._ndim)]
LAYERS += [(kind, None) for kind in LOCALLY_CONNECTED]


def build(kind, sharing, channels=4, **arguments):
    torch.manual_seed(0)
    usual = {"kernel_size": 3, "padding": 1, "sharing": sharing, "input_size": SIZE[kind._ndim]}
    layer = kind(channels, arguments.pop("out_channels", channels), **usual | arguments)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_()  # the corrections of LowRank are initially zero
    return layer


@pytest.mark.parametrize("dtype", DTYPES, ids=named)
@pytest.mark.parametrize(("kind", "sharing"), LAYERS, ids=named)
def test_layer(kind, sharing, dtype):
    check_layer(build(kind, sharing, dtype=dtype))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=named)
@pytest.mark.parametrize("groups", [{"groups": 2}, {"groups": 4}, {"groups": 4, "out_channels": 8}], ids=str)
@pytest.mark.parametrize(("kind", "sharing"), LAYERS, ids=named)
def test_groups(kind, sharing, groups, dtype):
    check_layer(build(kind, sharing, dtype=dtype, **groups))


GEOMETRIES = [
    {"kernel_size": 1, "padding": 0},
    {"kernel_size": (2, 3), "stride": (1, 2)},
    {"stride": 2, "padding": (2, 0), "input_size": (8, 11)},
    {"dilation": 2, "input_size": 9},
    {"kernel_size": 2, "dilation": (3, 1), "padding": "same"},
    {"padding_mode": "circular"},
    {"padding_mode": "reflect", "bias": False},
    {"padding_mode": "replicate", "groups": 2},
    {"bias_sharing": Full()},
    {"bias_sharing": Regional((1, 2))},
]
TRANSPOSED_GEOMETRIES = [
    {"kernel_size": 1, "padding": 0},
    {"kernel_size": (2, 3), "stride": (1, 2)},
    {"stride": 2, "padding": (2, 0), "output_padding": 1},
    {"dilation": 2, "bias": False},
    {"stride": 3, "kernel_size": 2, "padding": 0, "output_padding": 2},
    {"bias_sharing": Local()},
    {"bias_sharing": Tiled(2), "groups": 2},
]
SMALL = [Full(), Tiled(2), Regional(2), SharedAlong(0), LowRank(2), Local()]


@pytest.mark.parametrize("sharing", SMALL, ids=named)
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_geometry(geometry, sharing):
    for dtype in (torch.float64, torch.float16):
        check_layer(build(nn.Conv2d, sharing, dtype=dtype, **geometry))


@pytest.mark.parametrize("sharing", SMALL, ids=named)
@pytest.mark.parametrize("geometry", TRANSPOSED_GEOMETRIES, ids=str)
def test_transposed_geometry(geometry, sharing):
    for dtype in (torch.float64, torch.float16):
        check_layer(build(nn.ConvTranspose2d, sharing, dtype=dtype, **geometry))


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("sharing", SMALL, ids=named)
def test_batch(sharing, batch):
    check_layer(build(nn.Conv2d, sharing), batch)


COMPILED = [(kind, sharing) for kind in (nn.Conv2d, nn.ConvTranspose2d) for sharing in sharings(2)]
COMPILED += [(kind, None) for kind in (nn.LocallyConnected1d, nn.LocallyConnected3d)]


@pytest.mark.parametrize(("kind", "sharing"), COMPILED, ids=named)
def test_compiled_and_exported(kind, sharing):
    check_layer(build(kind, sharing, dtype=torch.float64), compile=True)


class Broken(nn.Conv2d):
    """A layer whose methods are replaced in each test."""


def build_broken(monkeypatch, dtype=torch.float64, **changes):
    for name, function in changes.items():
        monkeypatch.setattr(Broken, name, function)
    return build(Broken, Local(), dtype=dtype)


def multiply_output(factor, when=lambda input: True):
    def forward(self, input):
        output = nn.Conv2d.forward(self, input)
        return output * factor if when(input) else output

    return forward


BREAKS = {
    r"^output differs from the expected value by \S+, at most \S+ is allowed": {
        "forward": multiply_output(1 + 1e-9)
    },
    "^output for an input without a batch axis": {"forward": multiply_output(2, lambda x: x.dim() == 3)},
    "^output for an empty batch must have shape": {
        "forward": lambda self, x: nn.Conv2d.forward(self, x)[:, : None if len(x) else 1]
    },
    r"^assignment\(\) differs": {"assignment": lambda self: nn.Conv2d.assignment(self).flip(0)},
    r"^bias_map\(\) must be exactly equal": {"bias_map": lambda self: -nn.Conv2d.bias_map(self)},
    "^output with channels_last input": {
        "forward": multiply_output(2, lambda x: x.dim() == 4 and not x.is_contiguous() and x.stride(1) == 1)
    },
    "^output must be channels_last for channels_last input": {
        "forward": lambda self, x: nn.Conv2d.forward(self, x).contiguous()
    },
    "^output with sliced input": {"forward": multiply_output(2, lambda x: x.stride(-1) == 2)},
    "^output under autocast": {"forward": multiply_output(2, lambda x: torch.is_autocast_enabled("cpu"))},
    "^output with deterministic algorithms": {
        "forward": multiply_output(2, lambda x: torch.are_deterministic_algorithms_enabled())
    },
    "^output with functional.portable\\(\\)": {"forward": multiply_output(2, lambda x: is_portable())},
    "^output on the meta device must have": {
        "forward": lambda self, x: nn.Conv2d.forward(self, x).to(
            x.dtype if x.device.type != "meta" else torch.float32
        )
    },
}


@pytest.mark.parametrize("message", BREAKS)
def test_the_message_names_the_failed_check(monkeypatch, message):
    layer = build_broken(monkeypatch, **BREAKS[message])
    with pytest.raises(AssertionError, match=message):
        check_layer(layer)


def test_a_wrong_gradient_is_found(monkeypatch):
    class Bent(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, grad):
            return grad * (1 + 1e-8)

    layer = build_broken(monkeypatch, forward=lambda self, x: nn.Conv2d.forward(self, Bent.apply(x)))
    with pytest.raises(AssertionError, match=r"^gradient of input differs"):
        check_layer(layer)


def test_a_wrong_second_derivative_is_found(monkeypatch):
    class Bent(torch.autograd.Function):
        """The correct gradient, but detached, so that its derivative is zero."""

        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, grad):
            return grad.detach()

    layer = build_broken(monkeypatch, forward=lambda self, x: Bent.apply(nn.Conv2d.forward(self, x)))
    with pytest.raises(AssertionError, match=r"^second derivative with respect to "):
        check_layer(layer)


def test_an_error_of_5_percent_fails_in_16_bits(monkeypatch):
    layer = build_broken(monkeypatch, torch.float16, forward=multiply_output(1.05))
    with pytest.raises(AssertionError, match=r"^output differs"):
        check_layer(layer)


def test_layers_that_cannot_be_checked():
    with pytest.raises(
        ArgumentError, match="check_layer needs a layer built with input_size, got input_size=None"
    ):
        check_layer(nn.Conv2d(2, 2, 3))
    with pytest.raises(
        ArgumentError,
        match=r"needs parameters in bfloat16, float16, float32 or float64, got torch\.complex64",
    ):
        check_layer(nn.Conv2d(2, 2, 3, input_size=5, dtype=torch.complex64))


SIZED = nn.Conv2d(2, 2, 3, input_size=5)
INVALID = [
    (
        lambda: check_layer(torch.nn.Conv2d(2, 3, 3)),
        "Conv2d: check_layer needs a convolution, transposed convolution or SharedLinear of "
        "weightshare.nn, got Conv2d(2, 3, kernel_size=(3, 3), stride=(1, 1)); convert torch "
        "convolutions with relax().",
    ),
    (
        lambda: check_layer(None),
        "NoneType: check_layer needs a convolution, transposed convolution or SharedLinear of "
        "weightshare.nn, got None; convert torch convolutions with relax().",
    ),
    (lambda: check_layer(SIZED, batch=0), "Conv2d: batch must be at least 1, got 0."),
    (lambda: check_layer(SIZED, batch=-1), "Conv2d: batch must be at least 1, got -1."),
    (
        lambda: check_layer(nn.Conv2d(2, 2, 3, input_size=5, device="meta")),
        "Conv2d: check_layer needs parameters with values, got a layer on the meta device; use "
        ".to_empty() and load or initialize the parameters.",
    ),
]


@pytest.mark.parametrize(("act", "text"), INVALID)
def test_invalid_arguments(act, text):
    with pytest.raises(ArgumentError) as error:
        act()
    assert type(error.value) is ArgumentError
    assert str(error.value) == text


def test_the_layer_is_not_changed():
    layer = build(nn.Conv2d, LowRank(2)).requires_grad_(False).eval()
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    check_layer(layer)
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())
    assert not any(p.requires_grad or p.grad is not None for p in layer.parameters())
    assert not torch.are_deterministic_algorithms_enabled()


PATTERNS = {
    "a set": Pattern.from_symmetry(generators.permutations(5), generators.permutations(5)),
    "a long line": Pattern.of(
        torch.nn.Conv1d(1, 1, 3, padding=1), 120
    ),  # sparse, not multiplied as a dense matrix
    "two weights on one connection": Pattern.of(
        torch.nn.Conv1d(1, 1, 5, padding=2, padding_mode="circular"), 2
    ),
    "no bias": Pattern.of(torch.nn.Linear(3, 2, bias=False)),
    "a weight without connections": Pattern([(0, 1, 2)], 2, 3, n_weights=4),
}


@pytest.mark.parametrize("dtype", DTYPES, ids=named)
@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
def test_linear_layers_of_a_pattern(pattern, dtype):
    check_layer(nn.SharedLinear(pattern, dtype=dtype), compile=dtype == torch.float64)
