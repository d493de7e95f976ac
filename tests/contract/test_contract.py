"""The public contract over every layer, sharing and dtype, and what it says of layers that break it."""

import pytest
import torch

from weightshare import Full, Local, LowRank, Mapped, Pattern, Regional, SharedAlong, Tiled, nn
from weightshare.backends.exportable import is_wanted
from weightshare.errors import ArgumentError
from weightshare.pattern import generators
from weightshare.testing import check_layer

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
CONVOLUTIONS = [nn.Conv1d, nn.Conv2d, nn.Conv3d]
TRANSPOSED = [nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d]
LOCALLY_CONNECTED = [nn.LocallyConnected1d, nn.LocallyConnected2d, nn.LocallyConnected3d]
#: With kernel 3 and padding 1, also the positions an axis, by number of axes.
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
            parameter.normal_()  # corrections of low rank would start at zero
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
    """Given other methods by each test."""


def broken(monkeypatch, dtype=torch.float64, **changes):
    for name, function in changes.items():
        monkeypatch.setattr(Broken, name, function)
    return build(Broken, Local(), dtype=dtype)


def times(factor, when=lambda input: True):
    def forward(self, input):
        output = nn.Conv2d.forward(self, input)
        return output * factor if when(input) else output

    return forward


BREAKS = {
    r"^output differs by \S+ from the oracle's, \S+ is allowed": {"forward": times(1 + 1e-9)},
    "^output of input without a batch axis": {"forward": times(2, lambda x: x.dim() == 3)},
    "^an empty batch gives": {
        "forward": lambda self, x: nn.Conv2d.forward(self, x)[:, : None if len(x) else 1]
    },
    r"^assignment\(\) differs": {"assignment": lambda self: nn.Conv2d.assignment(self).flip(0)},
    r"^bias_map\(\) is not the same": {"bias_map": lambda self: -nn.Conv2d.bias_map(self)},
    "^output, of channels_last input,": {
        "forward": times(2, lambda x: x.dim() == 4 and not x.is_contiguous() and x.stride(1) == 1)
    },
    "^channels_last input must give channels_last output": {
        "forward": lambda self, x: nn.Conv2d.forward(self, x).contiguous()
    },
    "^output, of sliced input,": {"forward": times(2, lambda x: x.stride(-1) == 2)},
    "^output, under autocast,": {"forward": times(2, lambda x: torch.is_autocast_enabled("cpu"))},
    "^output, by deterministic algorithms,": {
        "forward": times(2, lambda x: torch.are_deterministic_algorithms_enabled())
    },
    "^output, by plain operators,": {"forward": times(2, lambda x: is_wanted())},
    "^output on the meta device is": {
        "forward": lambda self, x: nn.Conv2d.forward(self, x).to(
            x.dtype if x.device.type != "meta" else torch.float32
        )
    },
}


@pytest.mark.parametrize("message", BREAKS)
def test_names_what_fails(monkeypatch, message):
    layer = broken(monkeypatch, **BREAKS[message])
    with pytest.raises(AssertionError, match=message):
        check_layer(layer)


def test_a_wrong_gradient_is_named(monkeypatch):
    class Bent(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, grad):
            return grad * (1 + 1e-8)

    layer = broken(monkeypatch, forward=lambda self, x: nn.Conv2d.forward(self, Bent.apply(x)))
    with pytest.raises(AssertionError, match=r"^gradient of input differs"):
        check_layer(layer)


def test_a_wrong_second_derivative_is_named(monkeypatch):
    class Bent(torch.autograd.Function):
        """The right gradient, which then counts as a constant."""

        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, grad):
            return grad.detach()

    layer = broken(monkeypatch, forward=lambda self, x: Bent.apply(nn.Conv2d.forward(self, x)))
    with pytest.raises(AssertionError, match=r"^second derivative, "):
        check_layer(layer)


def test_a_loose_result_fails_in_16_bits(monkeypatch):
    """Twentieths of the output are more than two units of the last place."""
    layer = broken(monkeypatch, torch.float16, forward=times(1.05))
    with pytest.raises(AssertionError, match=r"^output differs"):
        check_layer(layer)


def test_refuses_what_it_cannot_check():
    with pytest.raises(ArgumentError, match="check_layer needs a layer with a size"):
        check_layer(nn.Conv2d(2, 2, 3))
    with pytest.raises(ArgumentError, match=r"compares bfloat16, float16, float32 and float64.*complex64"):
        check_layer(nn.Conv2d(2, 2, 3, input_size=5, dtype=torch.complex64))


SIZED = nn.Conv2d(2, 2, 3, input_size=5)
REFUSED = [
    (
        lambda: check_layer(torch.nn.Conv2d(2, 3, 3)),
        "Conv2d: check_layer needs a convolution or SharedLinear of weightshare.nn, got "
        "Conv2d(2, 3, kernel_size=(3, 3), "
        "stride=(1, 1)); build one, or use relax() on one of torch.nn.",
    ),
    (
        lambda: check_layer(None),
        "NoneType: check_layer needs a convolution or SharedLinear of weightshare.nn, got None, "
        "which is no module; "
        "build one, or use relax() on one of torch.nn.",
    ),
    (lambda: check_layer(SIZED, batch=0), "Conv2d: batch must be at least 1, got 0."),
    (lambda: check_layer(SIZED, batch=-1), "Conv2d: batch must be at least 1, got -1."),
    (
        lambda: check_layer(nn.Conv2d(2, 2, 3, input_size=5, device="meta")),
        "Conv2d: check_layer needs parameters that hold numbers, got a layer on the meta device; "
        "use .to_empty() and load its weights.",
    ),
]


@pytest.mark.parametrize(("act", "text"), REFUSED)
def test_refusals_say_why(act, text):
    with pytest.raises(ArgumentError) as error:
        act()
    assert type(error.value) is ArgumentError
    assert str(error.value) == text


def test_leaves_the_layer_as_it_is():
    layer = build(nn.Conv2d, LowRank(2)).requires_grad_(False).eval()
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    check_layer(layer)
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())
    assert not any(p.requires_grad or p.grad is not None for p in layer.parameters())
    assert not torch.are_deterministic_algorithms_enabled()


PATTERNS = {
    "a set": Pattern.from_symmetry(generators.permutations(5), generators.permutations(5)),
    "a line of many": Pattern.of(torch.nn.Conv1d(1, 1, 3, padding=1), 120),  # connections alone
    "two weights meet": Pattern.of(torch.nn.Conv1d(1, 1, 5, padding=2, padding_mode="circular"), 2),
    "no bias": Pattern.of(torch.nn.Linear(3, 2, bias=False)),
    "a weight of no connection": Pattern([(0, 1, 2)], 2, 3, n_weights=4),
}


@pytest.mark.parametrize("dtype", DTYPES, ids=named)
@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
def test_linear_layers_of_a_pattern(pattern, dtype):
    check_layer(nn.SharedLinear(pattern, dtype=dtype), compile=dtype == torch.float64)
