"""`to_dense` is exact for torch convolutions, keeps the dtype, and refuses what does not fit in memory."""

import pytest
import torch

from weightshare import Local, Tiled, _memory, nn, to_dense
from weightshare.errors import ArgumentError, ConversionError


@torch.no_grad()
@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
def test_torch_convolutions(ndim, mode):
    plain = getattr(torch.nn, f"Conv{ndim}d")(
        4, 6, 3, 2, padding=2, groups=2, padding_mode=mode, dtype=torch.float64
    )
    x = torch.randn(3, 4, *(5, 6, 4)[:ndim], dtype=torch.float64)
    linear = to_dense(plain, x.shape[2:])
    torch.testing.assert_close(linear(x.flatten(1)), plain(x).flatten(1), rtol=1e-12, atol=1e-12)
    assert type(linear) is torch.nn.Linear
    assert linear.weight.shape == (linear.out_features, linear.in_features)
    sparse = to_dense(plain, x.shape[2:], sparse=True)
    torch.testing.assert_close(sparse.to_dense(), linear.weight)


@torch.no_grad()
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_torch_transposed_convolutions(ndim):
    plain = getattr(torch.nn, f"ConvTranspose{ndim}d")(
        4, 6, 3, 2, padding=1, output_padding=1, groups=2, dtype=torch.float64
    )
    x = torch.randn(3, 4, *(5, 6, 4)[:ndim], dtype=torch.float64)
    linear = to_dense(plain, x.shape[2:])
    torch.testing.assert_close(linear(x.flatten(1)), plain(x).flatten(1), rtol=1e-12, atol=1e-12)
    sparse = to_dense(plain, x.shape[2:], sparse=True)
    torch.testing.assert_close(sparse.to_dense(), linear.weight)


def test_dtype_gradients_and_training_flag_are_kept():
    plain = torch.nn.Conv2d(2, 3, 3, dtype=torch.bfloat16, bias=False).eval().requires_grad_(False)
    linear = to_dense(plain, 5)
    assert linear.weight.dtype == torch.bfloat16
    assert linear.bias is None
    assert not linear.training
    assert not linear.weight.requires_grad


def test_a_fully_shared_layer_accepts_its_own_size_or_another():
    layer = nn.Conv2d(1, 1, 3, input_size=5)
    assert to_dense(layer).weight.shape == (9, 25)
    assert to_dense(layer, (3, 4)).weight.shape == (2, 12)


def test_a_matrix_that_does_not_fit_is_refused_before_it_is_built():
    layer = torch.nn.Conv2d(3, 96, 11, stride=4)
    with pytest.raises(ConversionError) as error:
        to_dense(layer, 227, max_bytes=2**34)
    assert str(error.value) == (
        "Conv2d: the dense layer must fit in 17,179,869,184 bytes of memory, got a matrix of 290,400 x "
        "154,587 (179,568,259,200 bytes); "
        "use sparse=True, a smaller input_size or a larger max_bytes."
    )
    with pytest.raises(ConversionError, match="the dense layer must fit in"):
        to_dense(torch.nn.Conv2d(3, 64, 3), 10_000)
    assert to_dense(nn.Conv2d(1, 1, 3, sharing=Tiled(2), input_size=9), max_bytes=4 * 49 * 81).bias.shape == (
        49,
    )


def test_free_memory_is_none_if_the_system_does_not_report_it(monkeypatch):
    monkeypatch.setattr("builtins.open", _missing)
    assert _memory.get_free_bytes() > 0
    monkeypatch.delattr("os.sysconf")
    assert _memory.get_free_bytes() is None


def _missing(*_):
    raise FileNotFoundError


ERRORS = [
    (
        lambda: to_dense(torch.nn.Conv2d(2, 3, 3), 6, max_bytes="1GB"),
        ArgumentError,
        "Conv2d: max_bytes must be an integer, got '1GB'.",
    ),
    (
        lambda: to_dense(torch.nn.Conv2d(2, 3, 3)),
        ArgumentError,
        "Conv2d: input_size, the spatial size of the input, must be given, got None.",
    ),
    (
        lambda: to_dense(nn.Conv2d(2, 3, 3, sharing=Local(), input_size=6), (6, 7)),
        ArgumentError,
        "Conv2d: input_size must be (6, 6), the size for which Local() has weights, got (6, 7).",
    ),
    (
        lambda: to_dense(torch.nn.Linear(2, 3)),
        ConversionError,
        "Linear: the layer must be one of Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, "
        "ConvTranspose3d, "
        "of torch.nn or weightshare.nn, got another module.",
    ),
]


@pytest.mark.parametrize(("act", "kind", "text"), ERRORS)
def test_errors(act, kind, text):
    with pytest.raises(kind) as error:
        act()
    assert type(error.value) is kind
    assert str(error.value) == text
