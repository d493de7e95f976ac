"""Transposed layers: arguments, parameter shapes, initial values, checkpoints, repr and error messages."""

import copy

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.helpers.sharings import SHARINGS
from weightshare import Full, Local, LowRank, Regional, SharedAlong, Tiled, explain, nn
from weightshare.errors import ArgumentError, ShapeError, SharingError
from weightshare.nn import digest


def layer(sharing, **arguments):
    """Build a layer from 6 x 6 inputs to 12 x 12 outputs."""
    usual = {"in_channels": 4, "out_channels": 6, "kernel_size": 3, "stride": 2, "input_size": 6}
    usual |= {"padding": 1, "output_padding": 1}
    return nn.ConvTranspose2d(**usual | arguments, sharing=sharing)


def plain(**arguments):
    usual = {"stride": 2, "padding": 1, "output_padding": 1}
    return torch.nn.ConvTranspose2d(4, 6, 3, **usual | arguments)


def test_arguments_have_the_order_of_torch():
    numbers = (4, 6, 3, 2, 1, 1, 2, False, 2, "zeros", "cpu", torch.float64)
    ours, theirs = nn.ConvTranspose2d(*numbers), torch.nn.ConvTranspose2d(*numbers)
    names = ("stride", "padding", "output_padding", "groups", "dilation", "padding_mode", "kernel_size")
    for name in names:
        assert getattr(ours, name) == getattr(theirs, name), name
    assert ours.weight.shape == theirs.weight.shape
    assert ours.weight.dtype == torch.float64
    assert ours.bias is None


@pytest.mark.parametrize("sharing", SHARINGS, ids=str)
def test_parameter_shapes(sharing):
    made = layer(sharing, groups=2)
    banks = sharing.banks((6, 6))
    if sharing == Full():
        assert made.weight.shape == (4, 3, 3, 3)
    elif sharing == Local():
        assert made.weight.shape == (36, 3, 3, 3, 4)
    else:
        assert made.weight.shape == (banks, 4, 3, 3, 3)
    assert made.bias.shape == (6,)
    assert made.bias_sharing == Full()
    assert made.kernels().shape == (banks, 4, 3, 3, 3)
    assert made.assignment().shape == (36, banks)
    assert made.output_size == (12, 12)
    assert made.input_size == made.position_size == (6, 6)
    assert made.bias_map().shape == (6, 12, 12)
    if sharing == LowRank(2):
        assert made.coefficients_0.shape == (2, 6)
    elif sharing == LowRank(2, "free"):
        assert made.coefficients.shape == (2, 6, 6)


@pytest.mark.parametrize("sharing", SHARINGS, ids=str)
def test_the_weight_has_the_shape_of_the_weight_of_the_adjoint_convolution(sharing):
    encoder = nn.Conv2d(6, 4, 3, 2, 1, groups=2, sharing=sharing, input_size=12)
    made = layer(sharing, groups=2)
    assert encoder.position_size == encoder.output_size == made.position_size
    assert encoder.weight.shape == made.weight.shape
    made.weight = encoder.weight
    assert made(encoder(torch.randn(2, 6, 12, 12))).shape == (2, 6, 12, 12)


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_full_is_initialized_exactly_like_torch(ndim):
    torch.manual_seed(5)
    a = getattr(nn, f"ConvTranspose{ndim}d")(4, 6, 3, groups=2)
    torch.manual_seed(5)
    b = getattr(torch.nn, f"ConvTranspose{ndim}d")(4, 6, 3, groups=2)
    assert torch.equal(a.weight, b.weight)
    assert torch.equal(a.bias, b.bias)
    assert a.state_dict().keys() == b.state_dict().keys()
    assert a.position_size is None


@torch.no_grad()
@pytest.mark.parametrize("sharing", SHARINGS, ids=str)
def test_the_initial_output_variance_equals_that_of_torch(sharing):
    torch.manual_seed(0)
    x = torch.randn(16, 16, 6, 6)

    def variance(make):
        return torch.stack([make()(x).var() for _ in range(12)])

    got = variance(lambda: layer(sharing, in_channels=16, out_channels=32))
    expected = variance(lambda: torch.nn.ConvTranspose2d(16, 32, 3, 2, 1, 1))
    spread = (got.var() / len(got) + expected.var() / len(expected)).sqrt()
    assert abs(got.mean() - expected.mean()) < 4 * spread
    assert got.mean() == pytest.approx(expected.mean().item(), rel=0.05)


def test_low_rank_starts_as_a_transposed_convolution_and_its_corrections_have_gradients():
    made = layer(LowRank(3))
    x = torch.randn(2, 4, 6, 6)
    expected = torch.nn.functional.conv_transpose2d(x, made.weight[0], made.bias, 2, 1, 1)
    torch.testing.assert_close(made(x), expected)
    made(x).square().sum().backward()
    assert all(made.weight.grad[k].abs().sum() > 0 for k in range(4))


@pytest.mark.parametrize("sharing", SHARINGS, ids=str)
@pytest.mark.parametrize("bias_sharing", [None, Regional((3, 2))], ids=str)
def test_safetensors_round_trip(sharing, bias_sharing, tmp_path):
    made, other = layer(sharing, bias_sharing=bias_sharing), layer(sharing, bias_sharing=bias_sharing)
    save_file(made.state_dict(), tmp_path / "layer.safetensors")
    other.load_state_dict(load_file(tmp_path / "layer.safetensors"))
    x = torch.randn(2, 4, 6, 6)
    assert torch.equal(made(x), other(x))


@pytest.mark.parametrize("sharing", SHARINGS, ids=str)
def test_a_plain_checkpoint_inside_a_model_loads_strictly(sharing):
    model = torch.nn.Sequential(layer(sharing), torch.nn.BatchNorm2d(6))
    other = torch.nn.Sequential(plain(), torch.nn.BatchNorm2d(6))
    model.load_state_dict(other.state_dict())
    x = torch.randn(3, 4, 6, 6)
    torch.testing.assert_close(model.eval()(x), other.eval()(x))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            lambda: layer(Tiled(2), input_size=8),
            r"checkpoint has Tiled\(\(2, 2\)\) on the 8 x 8 input of a transposed layer with kernel 3 x 3, "
            r"bias Full\(\), but this layer has Tiled\(\(2, 2\)\) on the 6 x 6 input of a transposed layer",
        ),
        (
            lambda: nn.Conv2d(4, 6, 3, padding=1, sharing=Tiled(2), input_size=6, bias_sharing=Full()),
            r"checkpoint has Tiled\(\(2, 2\)\) on an output of 6 x 6 with kernel 3 x 3, bias "
            r"Full\(\), but",
        ),
        (lambda: layer(Tiled(2), bias=False), "3 x 3, without bias, but this layer has"),
        (
            lambda: layer(Tiled(2), bias_sharing=Tiled(2)),
            r"3 x 3, bias Tiled\(\(2, 2\)\) on an output of 12 x 12, but this layer has",
        ),
    ],
)
def test_the_error_for_a_checkpoint_of_another_layer_names_both(source, message):
    with pytest.raises(RuntimeError, match=message):
        layer(Tiled(2)).load_state_dict(source().state_dict())


def test_a_checkpoint_depends_on_the_output_size_only_if_the_bias_does():
    layer(Tiled(2)).load_state_dict(layer(Tiled(2), output_padding=0).state_dict())
    made = layer(Tiled(2), bias_sharing=Local())
    with pytest.raises(
        RuntimeError, match=r"bias Local\(\) on an output of 11 x 11, but this layer has .* 12 x 12"
    ):
        made.load_state_dict(layer(Tiled(2), bias_sharing=Local(), output_padding=0).state_dict())
    state = layer(Tiled(2)).state_dict()
    numbers = digest.unpack(state["sharing_digest"])
    state["sharing_digest"] = torch.tensor(digest.pack([*numbers[:-1], 7]))
    with pytest.raises(RuntimeError, match="an unreadable sharing_digest of"):
        layer(Tiled(2)).load_state_dict(state)


def test_layers_on_the_meta_device_load_by_assignment():
    for sharing in SHARINGS:
        made = layer(sharing, device="meta")
        assert made.weight.is_meta
        made.load_state_dict(plain(dtype=torch.float64).state_dict(), assign=True)
        assert made(torch.zeros(2, 4, 6, 6, dtype=torch.float64)).shape == (2, 6, 12, 12)


def test_non_contiguous_and_channels_last_input():
    x = torch.randn(6, 6, 4, 3).permute(3, 2, 0, 1)
    for sharing in SHARINGS:
        made = layer(sharing)
        torch.testing.assert_close(made(x), made(x.contiguous()))
        assert made(x.contiguous()).is_contiguous()
        assert layer(sharing, bias=False)(x.contiguous()).is_contiguous()


@pytest.mark.parametrize("sharing", SHARINGS, ids=str)
def test_autocast_and_half_precision(sharing):
    x = torch.randn(2, 4, 6, 6, requires_grad=True)
    made = layer(sharing)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = made(x)
        y.float().square().sum().backward()
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), made(x), rtol=0.05, atol=0.05)
    assert x.grad.dtype == made.weight.grad.dtype == torch.float32
    for dtype in (torch.bfloat16, torch.float16):
        low = layer(sharing, dtype=dtype)
        low(x.to(dtype)).float().square().sum().backward()
        assert low.weight.grad.dtype == dtype


def test_a_bias_with_another_sharing():
    made = layer(Full(), bias_sharing=Local())
    assert made.bias.shape == (144, 6)
    torch.testing.assert_close(made(torch.zeros(1, 4, 6, 6))[0], made.bias_map())
    with pytest.raises(ShapeError, match="input must be"):
        made(torch.zeros(1, 4, 9, 9))
    with pytest.raises(
        ShapeError,
        match=r"ConvTranspose2d: output_size must be \(12, 12\), the only size for which "
        r"bias_sharing=Local\(\) has biases, got \(11, 12\); build the layer with another "
        "output_padding or",
    ):
        made(torch.zeros(1, 4, 6, 6), output_size=(11, 12))
    assert made(torch.zeros(1, 4, 6, 6), output_size=(12, 12)).shape == (1, 6, 12, 12)


def test_a_deepcopy_is_independent():
    made = layer(LowRank(2))
    other = copy.deepcopy(made)
    other.reset_parameters()
    assert not torch.equal(made.weight, other.weight)


def test_repr():
    made = nn.ConvTranspose2d(4, 6, 3, 3, 1, 2, 2, False, 2, sharing=Tiled(2), input_size=5)
    assert repr(made) == (
        "ConvTranspose2d(4, 6, kernel_size=(3, 3), stride=(3, 3), padding=(1, 1), dilation=(2, 2), "
        "output_padding=(2, 2), groups=2, bias=False, sharing=Tiled(2), input_size=(5, 5))"
    )
    assert "bias_sharing" not in repr(layer(Tiled(2)))
    assert "bias_sharing=Local()" in repr(layer(Tiled(2), bias_sharing=Local()))


@pytest.mark.parametrize(
    ("sharing", "weights"),
    [
        (Full(), 216),
        (Tiled(2), 4 * 216),
        (Regional((2, 3)), 6 * 216),
        (SharedAlong(1), 6 * 216),
        (LowRank(2), 3 * 216 + 2 * 12),
        (LowRank(2, "free"), 3 * 216 + 2 * 36),
        (Local(), 36 * 216),
    ],
    ids=str,
)
def test_explain_counts_a_layer(sharing, weights):
    answer = explain(layer(sharing))
    assert answer.parameters == weights + 6 == sum(p.numel() for p in layer(sharing).parameters())
    assert answer.by_sharing["full"] == 216 + 6
    assert answer.by_sharing["local"] == 36 * 216 + 6
    assert answer.by_sharing["dense"] == 144 * 36 * 24 + 864
    assert answer.output == (6, 12, 12)
    # 17 (output, input) pairs per axis: 6 inputs with 3 taps each, minus one at the first border
    assert answer.connections == 17**2 * 4 * 6
    assert str(answer.layer).startswith("ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"sharing": Local(), "input_size": None},
            ArgumentError,
            "ConvTranspose2d: sharing=Local() needs input_size, the spatial size of the input, got "
            "None; pass an integer or a tuple of length 2; only Full() works without input_size.",
        ),
        (
            {"sharing": Regional(7)},
            SharingError,
            "ConvTranspose2d: sharing=Regional(7) needs an output of at least 7 x 7, got (6, 6), the size of "
            "the input (whose positions own a transposed layer's kernels); use a smaller grid or Local().",
        ),
        (
            {"bias_sharing": Regional(13)},
            SharingError,
            "ConvTranspose2d: bias_sharing=Regional(13) needs an output of at least 13 x 13, got (12, 12) "
            "from input_size=(6, 6), kernel_size=3; use a smaller grid or Local().",
        ),
        (
            {"padding": "same"},
            ArgumentError,
            "ConvTranspose2d: padding must be integers for a transposed layer, got 'same'.",
        ),
        (
            {"padding_mode": "reflect"},
            ArgumentError,
            "ConvTranspose2d: padding_mode must be 'zeros' for a transposed layer, got 'reflect'.",
        ),
        (
            {"output_padding": 2},
            ArgumentError,
            "ConvTranspose2d: output_padding must be smaller than stride or dilation, got (2, 2) "
            "with stride=(2, 2), dilation=(1, 1).",
        ),
        (
            {"output_padding": -1},
            ArgumentError,
            "ConvTranspose2d: output_padding must be at least 0, got -1.",
        ),
        (
            {"padding": 8},
            ShapeError,
            "ConvTranspose2d: the output must have at least one position on each axis, got -2 x -2 "
            "from input_size=(6, 6), padding=((8, 8), (8, 8)); use a larger input or less padding.",
        ),
        (
            {"stride": 0},
            ArgumentError,
            "ConvTranspose2d: stride must be at least 1, got 0.",
        ),
        (
            {"groups": 3},
            ArgumentError,
            "ConvTranspose2d: groups must divide in_channels and out_channels, got groups=3, which "
            "does not divide in_channels=4 (out_channels=6).",
        ),
        (
            {"sharing": Tiled(2), "dtype": torch.complex64},
            ArgumentError,
            "ConvTranspose2d: dtype must be float16, bfloat16, float32 or float64 for "
            "sharing=Tiled(2), got torch.complex64; use sharing=Full() for other dtypes.",
        ),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error) as caught:
        layer(**{"sharing": Full()} | arguments)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("sharing", "shape", "output_size", "message"),
    [
        (
            Tiled(2),
            (2, 4, 6, 7),
            None,
            "ConvTranspose2d: input must be [N, 4, 6, 6] or [4, 6, 6], got [2, 4, 6, 7], which has "
            "size 7 on axis 3 instead of 6; resize the input, or "
            "build the layer with another input_size (its weights for sharing=Tiled(2) "
            "fit this size only).",
        ),
        (
            Full(),
            (2, 6, 6, 6),
            None,
            "ConvTranspose2d: input must be [N, 4, *size] or [4, *size] with 2 spatial axes, got "
            "[2, 6, 6, 6], which has 6 channels on axis 1; in_channels is 4.",
        ),
        (
            Local(),
            (2, 4, 6, 6),
            (13, 12),
            "ConvTranspose2d: output_size must be between (11, 11) and (12, 12) for an input of (6, "
            "6), got (13, 12).",
        ),
        (
            Full(),
            (2, 4, 6, 6),
            (12,),
            "ConvTranspose2d: output_size must be 2 or 4 integers for an input of 4 axes, got "
            "(12,); pass the spatial size of the output.",
        ),
        (
            Full(),
            (4, 6, 6),
            12,
            "ConvTranspose2d: output_size must be 2 or 3 integers for an input of 3 axes, got 12; "
            "pass the spatial size of the output.",
        ),
    ],
)
def test_bad_input(sharing, shape, output_size, message):
    with pytest.raises(ShapeError) as caught:
        layer(sharing)(torch.zeros(shape), output_size)
    assert str(caught.value) == message
    assert isinstance(caught.value, RuntimeError)


def test_an_output_size_that_is_not_a_size():
    for size in ((12.0, 12.0), "12", (12, None)):
        with pytest.raises(ShapeError, match=r"ConvTranspose2d: output_size must be 2 or 4 integers for an"):
            layer(Full())(torch.zeros(1, 4, 6, 6), size)


@pytest.mark.parametrize("sharing", [s for s in SHARINGS if s != Full()], ids=str)
def test_input_of_another_dtype_or_device(sharing):
    with pytest.raises(
        ShapeError, match=r"ConvTranspose2d: input must have the dtype of the weights, torch.f"
    ):
        layer(sharing)(torch.zeros(1, 4, 6, 6, dtype=torch.float64))
    with pytest.raises(
        ShapeError, match=r"ConvTranspose2d: input must be on the device of the weights, cpu, g"
    ):
        layer(sharing)(torch.zeros(1, 4, 6, 6, device="meta"))


def test_assignment_needs_input_size():
    with pytest.raises(
        ArgumentError, match=r"ConvTranspose2d: assignment\(\) needs the number of positions, got a layer"
    ):
        nn.ConvTranspose2d(1, 1, 3).assignment()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("sharing", [Local(), Tiled(2), LowRank(1)], ids=str)
def test_torchscript_tracing(sharing):
    made = nn.ConvTranspose2d(3, 4, 3, 2, sharing=sharing, input_size=6)
    x = torch.randn(2, 3, 6, 6)
    torch.testing.assert_close(torch.jit.trace(made, x)(x), made(x))
