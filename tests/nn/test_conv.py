"""Convolutions: arguments, parameter shapes, initial values, checkpoints, repr and error messages."""

import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from tests.helpers.sharings import SHARINGS
from weightshare import Full, Local, LowRank, Mapped, Regional, Tiled, nn
from weightshare.errors import ArgumentError, ShapeError, SharingError


def layer(sharing, **arguments):
    return nn.Conv2d(
        **{"in_channels": 4, "out_channels": 6, "kernel_size": 3, "input_size": 8} | arguments,
        sharing=sharing,
    )


@pytest.mark.parametrize("sharing", SHARINGS, ids=str)
def test_parameter_shapes(sharing):
    made = layer(sharing, groups=2)
    banks = sharing.banks((6, 6))
    if sharing == Full():
        assert made.weight.shape == (6, 2, 3, 3)
        assert made.bias.shape == (6,)
    elif sharing == Local():
        assert made.weight.shape == (36, 3, 3, 2, 6)
        assert made.bias.shape == (36, 6)
    else:
        assert made.weight.shape == (banks, 6, 2, 3, 3)
        assert made.bias.shape == ((banks, 6) if sharing.one_hot else (6,))
    assert made.kernels().shape == (banks, 6, 2, 3, 3)
    assert made.assignment().shape == (36, banks)
    assert made.bias_map().shape == (6, 6, 6)
    names = {name for name, _ in made.named_parameters()} - {"weight", "bias"}
    if sharing == LowRank(2):
        assert names == {"coefficients_0", "coefficients_1"}
        assert made.coefficients_0.shape == (2, 6)
    elif sharing == LowRank(2, "free"):
        assert names == {"coefficients"}
        assert made.coefficients.shape == (2, 6, 6)
    elif sharing.one_hot:
        assert not names


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_full_is_initialized_exactly_like_torch(ndim):
    ours, theirs = getattr(nn, f"Conv{ndim}d"), getattr(torch.nn, f"Conv{ndim}d")
    torch.manual_seed(5)
    a = ours(4, 6, 3, groups=2)
    torch.manual_seed(5)
    b = theirs(4, 6, 3, groups=2)
    assert torch.equal(a.weight, b.weight)
    assert torch.equal(a.bias, b.bias)
    assert a.state_dict().keys() == b.state_dict().keys()


@torch.no_grad()
@pytest.mark.parametrize("sharing", SHARINGS, ids=str)
def test_the_initial_output_variance_equals_that_of_torch(sharing):
    torch.manual_seed(0)
    x = torch.randn(16, 16, 8, 8)

    def variance(make):
        return torch.stack([make()(x).var() for _ in range(12)])

    got = variance(lambda: layer(sharing, in_channels=16, out_channels=32))
    expected = variance(lambda: torch.nn.Conv2d(16, 32, 3))
    spread = (got.var() / len(got) + expected.var() / len(expected)).sqrt()
    assert abs(got.mean() - expected.mean()) < 4 * spread
    assert got.mean() == pytest.approx(expected.mean().item(), rel=0.05)


def test_low_rank_starts_as_a_convolution_and_its_corrections_have_gradients():
    made = layer(LowRank(3))
    x = torch.randn(2, 4, 8, 8)
    plain = torch.nn.functional.conv2d(x, made.weight[0], made.bias)
    assert torch.equal(made(x), plain)
    made(x).square().sum().backward()
    assert all(made.weight.grad[k].abs().sum() > 0 for k in range(4))


def test_initial_coefficients_have_variance_one():
    for sharing in (LowRank(500), LowRank(100, "free")):
        made = layer(sharing)
        assert made.assignment()[:, 1:].var().item() == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize("sharing", [s for s in SHARINGS if s != Full()], ids=str)
def test_the_error_for_a_checkpoint_of_another_sharing_names_both(sharing):
    made = layer(sharing)
    before = {name: value.clone() for name, value in made.state_dict().items()}
    other = layer(Regional(3)) if sharing != Regional(3) else layer(Tiled(2))
    with pytest.raises(RuntimeError) as error:
        made.load_state_dict(other.state_dict())
    text = str(error.value)
    assert "Conv2d: the checkpoint has Regional((3, 3)) on an output of 6 x 6 with kernel 3 x 3" in text
    assert f"this layer has {type(sharing).__name__}" in text
    assert "size mismatch" not in text
    assert all(torch.equal(value, before[name]) for name, value in made.state_dict().items())


def test_the_error_for_a_checkpoint_of_another_size_map_or_bias_names_both():
    with pytest.raises(
        RuntimeError,
        match=r"on an output of 8 x 8 .*this layer has Tiled\(\(2, 2\)\) on an output "
        "of 6 x 6",
    ):
        layer(Tiled(2)).load_state_dict(layer(Tiled(2), input_size=10).state_dict())
    a, b = Mapped([[0] * 6] * 3 + [[1] * 6] * 3), Mapped([[1] * 6] * 3 + [[0] * 6] * 3)
    with pytest.raises(
        RuntimeError, match=r"Mapped\(2 banks, digest .*this layer has Mapped\(2 banks, digest"
    ):
        layer(a).load_state_dict(layer(b).state_dict())
    with pytest.raises(RuntimeError, match=r"3 x 3, bias Full\(\), but this layer"):
        layer(Tiled(2)).load_state_dict(layer(Tiled(2), bias_sharing=Full()).state_dict())
    with pytest.raises(RuntimeError, match=r"checkpoint has Local\(\) .*this layer has Full\(\)"):
        nn.Conv2d(4, 6, 3).load_state_dict(layer(Local()).state_dict())


def test_a_checkpoint_with_a_broken_digest_is_an_error():
    state = layer(Tiled(2)).state_dict()
    state["sharing_digest"] = torch.tensor([1, 2, 3])
    with pytest.raises(RuntimeError, match="an unreadable sharing_digest of 3 integers"):
        layer(Tiled(2)).load_state_dict(state)


@pytest.mark.parametrize("sharing", SHARINGS, ids=str)
def test_a_plain_checkpoint_inside_a_model_loads_strictly(sharing):
    model = torch.nn.Sequential(layer(sharing), torch.nn.BatchNorm2d(6))
    plain = torch.nn.Sequential(torch.nn.Conv2d(4, 6, 3), torch.nn.BatchNorm2d(6))
    state = plain.state_dict()
    keys = list(state)
    model.load_state_dict(state)
    assert list(state) == keys
    x = torch.randn(3, 4, 8, 8)
    torch.testing.assert_close(model.eval()(x), plain.eval()(x))


def test_kernels_of_a_plain_checkpoint_diverge_in_training():
    torch.manual_seed(0)
    made = layer(Local())
    made.load_state_dict(torch.nn.Conv2d(4, 6, 3).state_dict())
    assert made.kernels().std(0).max() == 0
    optimizer = torch.optim.SGD(made.parameters(), lr=0.01)
    x, expected = torch.randn(16, 4, 8, 8), torch.randn(16, 6, 6, 6)
    for _ in range(20):
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(made(x), expected, reduction="sum").div(16).backward()
        optimizer.step()
    assert made.kernels().std(0).min() > 1e-3


@pytest.mark.parametrize("sharing", SHARINGS, ids=str)
def test_safetensors_round_trip(sharing, tmp_path):
    made, other = layer(sharing), layer(sharing)
    save_file(made.state_dict(), tmp_path / "layer.safetensors")
    other.load_state_dict(load_file(tmp_path / "layer.safetensors"))
    x = torch.randn(2, 4, 8, 8)
    assert torch.equal(made(x), other(x))


def test_a_plain_checkpoint_of_another_shape_raises_the_error_of_torch():
    with pytest.raises(RuntimeError, match="size mismatch for weight"):
        layer(Local()).load_state_dict(torch.nn.Conv2d(4, 6, 5).state_dict())


def test_parameters_can_be_reset_after_to_empty():
    made = layer(LowRank(2), device="meta").to_empty(device="cpu")
    made.reset_parameters()
    assert torch.equal(made.sharing_digest, layer(LowRank(2)).sharing_digest)
    assert made(torch.zeros(1, 4, 8, 8)).shape == (1, 6, 6, 6)


def test_layers_on_the_meta_device_load_by_assignment():
    for sharing in SHARINGS:
        made = layer(sharing, device="meta")
        assert made.weight.is_meta
        made.load_state_dict(layer(sharing).state_dict(), assign=True)
        assert made(torch.zeros(2, 4, 8, 8)).shape == (2, 6, 6, 6)
        plain = torch.nn.Conv2d(4, 6, 3, dtype=torch.float64)
        made = layer(sharing, device="meta")
        made.load_state_dict(plain.state_dict(), assign=True)
        x = torch.randn(2, 4, 8, 8, dtype=torch.float64)
        torch.testing.assert_close(made(x), plain(x))


@pytest.mark.parametrize("sharing", [s for s in SHARINGS if s != Full()], ids=str)
def test_the_saved_digest_is_correct_even_if_the_buffer_was_changed(sharing):
    made = layer(sharing)
    averaged = AveragedModel(made, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    for _ in range(3):
        averaged.update_parameters(made)
    made.load_state_dict(averaged.module.state_dict())
    skipped = torch.nn.utils.skip_init(nn.Conv2d, 4, 6, 3, sharing=sharing, input_size=8, device="cpu")
    made.load_state_dict(skipped.state_dict())


@pytest.mark.parametrize("digest", [torch.tensor(3), torch.rand(4), torch.ones(2, 2).long(), "text", [1, 2]])
def test_an_invalid_digest_is_an_error(digest):
    state = layer(Tiled(2)).state_dict() | {"sharing_digest": digest}
    with pytest.raises(RuntimeError, match="an unreadable sharing_digest"):
        layer(Tiled(2)).load_state_dict(state)


def test_memory_formats_do_not_change_banks():
    for sharing in SHARINGS:
        model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), layer(sharing, input_size=8))
        model.to(memory_format=torch.channels_last)
        if sharing != Full():
            assert all(p.is_contiguous() for p in model[1].parameters())
        x = torch.randn(2, 3, 10, 10)
        torch.testing.assert_close(model(x.to(memory_format=torch.channels_last)), model(x))
    line = nn.LocallyConnected1d(4, 6, 3, input_size=8).to(memory_format=torch.channels_last)
    assert line.weight.is_contiguous()


@pytest.mark.parametrize(
    "sharing", [Local(), Mapped([[0] * 26] * 26), Tiled(2)], ids=lambda s: type(s).__name__
)
def test_sums_of_16_bit_values_are_accumulated_in_32_bits(sharing):
    torch.manual_seed(0)
    made = layer(sharing, in_channels=8, out_channels=8, kernel_size=7, input_size=32, dtype=torch.bfloat16)
    exact = layer(sharing, in_channels=8, out_channels=8, kernel_size=7, input_size=32, dtype=torch.float64)
    exact.load_state_dict(made.state_dict())
    x = torch.randn(4, 8, 32, 32, dtype=torch.bfloat16)
    direction = torch.randn(4, 8, 26, 26, dtype=torch.bfloat16)

    def gradients(model, dtype):
        image = x.to(dtype, copy=True).requires_grad_()
        y = model(image)
        y.backward(direction.to(dtype))
        return y, image.grad, model.weight.grad

    for got, expected in zip(gradients(made, torch.bfloat16), gradients(exact, torch.float64)):
        assert (got.double() - expected).norm() < 4e-3 * expected.norm()


def test_a_bias_with_another_sharing():
    made = layer(Full(), bias_sharing=Local())
    assert made.bias.shape == (36, 6)
    x = torch.zeros(1, 4, 8, 8)
    torch.testing.assert_close(made(x)[0], made.bias_map())
    assert layer(Local(), bias_sharing=Full()).bias.shape == (6,)
    assert layer(Full(), bias=False).bias_map().abs().sum() == 0
    with pytest.raises(ShapeError, match="input must be"):
        made(torch.zeros(1, 4, 9, 9))


def test_locally_connected_is_local():
    for ndim in (1, 2, 3):
        made = getattr(nn, f"LocallyConnected{ndim}d")(3, 5, 3, input_size=6)
        assert made.sharing == Local()
        assert made.weight.shape == (4**ndim, *(3,) * ndim, 3, 5)


def test_non_contiguous_and_channels_last_input():
    x = torch.randn(8, 8, 4, 3).permute(3, 2, 0, 1)
    for sharing in SHARINGS:
        made = layer(sharing)
        torch.testing.assert_close(made(x), made(x.contiguous()))


@pytest.mark.parametrize("sharing", SHARINGS, ids=str)
def test_autocast_and_half_precision(sharing):
    x = torch.randn(2, 4, 8, 8, requires_grad=True)
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


@pytest.mark.parametrize("sharing", [s for s in SHARINGS if s != Full()], ids=str)
def test_an_input_with_another_dtype(sharing):
    message = r"Conv2d: input must have the dtype of the weights, torch.float32, got torch.float64; convert"
    with pytest.raises(ShapeError, match=message):
        layer(sharing)(torch.zeros(1, 4, 8, 8, dtype=torch.float64))


@pytest.mark.parametrize("sharing", [s for s in SHARINGS if s != Full()], ids=str)
def test_an_input_on_another_device(sharing):
    message = (
        r"Conv2d: input must be on the device of the weights, cpu, got meta; move one of them with .to\(\)"
    )
    with pytest.raises(ShapeError, match=message):
        layer(sharing)(torch.zeros(1, 4, 8, 8, device="meta"))


def test_repr():
    made = nn.Conv2d(
        4,
        6,
        3,
        stride=2,
        padding=1,
        dilation=2,
        groups=2,
        bias=False,
        padding_mode="reflect",
        sharing=Tiled(2),
        input_size=9,
    )
    assert repr(made) == (
        "Conv2d(4, 6, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1), dilation=(2, 2), groups=2, "
        "bias=False, padding_mode=reflect, sharing=Tiled(2), input_size=(9, 9))"
    )
    assert "bias_sharing=Full()" in repr(layer(LowRank(1)))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"sharing": Local(), "input_size": None},
            ArgumentError,
            "Conv2d: sharing=Local() needs input_size, the spatial size of the input, got None; "
            "pass an integer or a tuple of length 2; only Full() works without input_size.",
        ),
        (
            {"bias_sharing": Local(), "input_size": None},
            ArgumentError,
            "Conv2d: bias_sharing=Local() needs input_size, the spatial size of the input, got "
            "None; pass an integer or a tuple of length 2; only Full() works without input_size.",
        ),
        (
            {"sharing": Regional((5, 5)), "input_size": 6},
            SharingError,
            "Conv2d: sharing=Regional((5, 5)) needs an output of at least 5 x 5, got (4, 4) from "
            "input_size=(6, 6), kernel_size=3; use a smaller grid or Local().",
        ),
        (
            {"sharing": Mapped([[0, 1]])},
            SharingError,
            f"Conv2d: sharing={Mapped([[0, 1]])!r} needs an output of 1 x 2 (the shape of its labels), got "
            "(6, 6) from input_size=(8, 8), kernel_size=3; pass labels with the shape of the output.",
        ),
        ({"kernel_size": 0}, ArgumentError, "Conv2d: kernel_size must be at least 1, got 0."),
        ({"stride": -1}, ArgumentError, "Conv2d: stride must be at least 1, got -1."),
        ({"padding": -1}, ArgumentError, "Conv2d: padding must be at least 0, got -1."),
        (
            {"kernel_size": (3, 3, 3)},
            ArgumentError,
            "Conv2d: kernel_size must be an integer or a tuple of length 2 (one entry per spatial "
            "axis), got (3, 3, 3).",
        ),
        (
            {"groups": 3},
            ArgumentError,
            "Conv2d: groups must divide in_channels and out_channels, got groups=3, which does not "
            "divide in_channels=4 (out_channels=6).",
        ),
        (
            {"padding_mode": "mirror"},
            ArgumentError,
            "Conv2d: padding_mode must be one of 'circular', 'reflect', 'replicate', 'zeros', got 'mirror'.",
        ),
        (
            {"padding_mode": "reflect", "padding": 8},
            ShapeError,
            "Conv2d: padding_mode='reflect' can pad an axis of length 8 by at most 7, got (8, 8) on "
            "axis 0 from padding=((8, 8), (8, 8)); use less padding or another padding_mode.",
        ),
        (
            {"sharing": "local"},
            ArgumentError,
            "Conv2d: sharing must be a sharing such as Tiled(2), got 'local'; convert text with "
            "parse_sharing().",
        ),
        (
            {"bias_sharing": LowRank(1)},
            ArgumentError,
            "Conv2d: bias_sharing must assign one bias to each position, got LowRank(1); use any "
            "sharing except LowRank.",
        ),
        (
            {"sharing": Local(), "dtype": torch.complex64},
            ArgumentError,
            "Conv2d: dtype must be float16, bfloat16, float32 or float64 for sharing=Local(), got "
            "torch.complex64; use sharing=Full() for other dtypes.",
        ),
        (
            {"sharing": Tiled(2), "dtype": torch.float8_e4m3fn},
            ArgumentError,
            "Conv2d: dtype must be float16, bfloat16, float32 or float64 for sharing=Tiled(2), got "
            "torch.float8_e4m3fn; use sharing=Full() for other dtypes.",
        ),
        (
            {"sharing": Local(), "input_size": 2},
            ShapeError,
            "Conv2d: the padded input must be at least (3, 3), the extent of the window, got (2, 2) "
            "from input_size=(2, 2); use a larger input, a smaller kernel or more padding.",
        ),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error) as caught:
        nn.Conv2d(**{"in_channels": 4, "out_channels": 6, "kernel_size": 3, "input_size": 8} | arguments)
    assert str(caught.value) == message
    assert isinstance(caught.value, ValueError)
    assert str(pickle.loads(pickle.dumps(caught.value))) == message


@pytest.mark.parametrize(
    ("sharing", "shape", "message"),
    [
        (
            Tiled(2),
            (2, 4, 8, 9),
            "Conv2d: input must be [N, 4, 8, 8] or [4, 8, 8], got [2, 4, 8, 9], which has size 9 "
            "on axis 3 instead of 8; resize the input, or build the layer "
            "with another input_size (its weights for sharing=Tiled(2) fit this "
            "size only).",
        ),
        (
            Full(),
            (2, 3, 8, 8),
            "Conv2d: input must be [N, 4, *size] or [4, *size] with 2 spatial axes, got [2, 3, 8, 8], "
            "which has 3 channels on axis 1; in_channels is 4.",
        ),
        (
            Local(),
            (8, 8),
            "Conv2d: input must be [N, 4, 8, 8] or [4, 8, 8], got [8, 8], which has 2 axes.",
        ),
        (
            Full(),
            (1, 1, 4, 8, 8),
            "Conv2d: input must be [N, 4, *size] or [4, *size] with 2 spatial axes, got [1, 1, 4, 8, 8], "
            "which has 5 axes.",
        ),
    ],
)
def test_bad_input(sharing, shape, message):
    with pytest.raises(ShapeError) as caught:
        layer(sharing)(torch.zeros(shape))
    assert str(caught.value) == message
    assert isinstance(caught.value, RuntimeError)


def test_an_array_is_not_an_input():
    with pytest.raises(ArgumentError, match=r"Conv2d: input must be a torch.Tensor, got ndarray"):
        layer(Local())(np.zeros((1, 4, 8, 8), "float32"))


def test_locally_connected_layers_have_no_other_sharing():
    message = r"LocallyConnected2d: sharing must be Local\(\), got Tiled\(2\); use Conv2d for any other"
    with pytest.raises(ArgumentError, match=message):
        nn.LocallyConnected2d(4, 6, 3, input_size=8, sharing=Tiled(2))


def test_assignment_needs_input_size():
    with pytest.raises(
        ArgumentError, match=r"Conv2d: assignment\(\) needs the number of positions, got a layer"
    ):
        nn.Conv2d(1, 1, 3).assignment()


@pytest.mark.parametrize(
    ("dtype", "weights"),
    [(torch.int32, torch.float32), (torch.complex64, torch.float32), (torch.float64, torch.float32)],
)
def test_autocast_accepts_only_the_dtypes_that_it_casts(dtype, weights):
    made = layer(Local(), dtype=weights)
    x = torch.zeros(1, made.in_channels, *made.input_size).to(dtype)
    with (
        torch.autocast("cpu", torch.bfloat16),
        pytest.raises(ShapeError, match="must have the dtype of the weights"),
    ):
        made(x)


def test_an_unsupported_dtype_after_to_is_an_error():
    made = layer(Local()).to(torch.float8_e4m3fn)
    x = torch.zeros(1, made.in_channels, *made.input_size).to(torch.float8_e4m3fn)
    with pytest.raises(ArgumentError, match=r"dtype must be float16.*got torch.float8_e4m3fn"):
        made(x)


def test_a_sparse_input_is_an_error():
    made = layer(Local())
    x = torch.zeros(1, made.in_channels, *made.input_size).to_sparse()
    with pytest.raises(ShapeError, match=r"must be a dense tensor.*torch.sparse_coo.*to_dense"):
        made(x)
