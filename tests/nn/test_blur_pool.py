"""Blur pooling equals SciPy's filters, is equivariant, and has correct gradients and error messages."""

from math import comb

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

import weightshare as ws
from weightshare.errors import ArgumentError, ShapeError

POOLS = {1: ws.nn.BlurPool1d, 2: ws.nn.BlurPool2d, 3: ws.nn.BlurPool3d}
MODES = {"reflect": "mirror", "replicate": "nearest", "circular": "wrap", "zeros": "constant"}


def oracle(image: np.ndarray, filter_size, stride, padding_mode: str) -> np.ndarray:
    """Return SciPy's correlation of [*size] along each axis, with SciPy's padding, and then the stride."""
    for axis, (taps, step) in enumerate(zip(filter_size, stride)):
        row = np.array([comb(taps - 1, i) for i in range(taps)]) / 2.0 ** (taps - 1)
        # SciPy centers a filter of even length one input further left
        origin = -1 if taps % 2 == 0 else 0
        image = ndimage.correlate1d(image, row, axis, mode=MODES[padding_mode], origin=origin)
        image = image[(slice(None),) * axis + (slice(None, None, step),)]
    return image


@st.composite
def cases(draw):
    ndim = draw(st.integers(1, 3))
    each = lambda low, high: tuple(draw(st.integers(low, high)) for _ in range(ndim))  # noqa: E731
    filter_size, stride = each(1, 5), each(1, 3)
    size = tuple(draw(st.integers(taps // 2 + 1, 8)) for taps in filter_size)
    return filter_size, stride, size, draw(st.sampled_from(sorted(MODES)))


@given(cases())
@settings(max_examples=80)
def test_it_equals_scipy(case):
    filter_size, stride, size, mode = case
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    got = POOLS[len(size)](filter_size, stride, mode)(x)
    expected = [[oracle(c.numpy(), filter_size, stride, mode) for c in image] for image in x]
    torch.testing.assert_close(got, torch.tensor(np.array(expected)), rtol=1e-12, atol=1e-12)
    assert got.shape[2:] == tuple(-(-n // s) for n, s in zip(size, stride))


@given(cases(), st.integers(1, 3))
@settings(max_examples=40)
def test_it_is_equivariant_to_circular_shifts_by_multiples_of_the_stride(case, times):
    filter_size, stride, size, _ = case
    size = tuple(n * s for n, s in zip(size, stride))  # the stride divides the size
    x = torch.randint(-99, 99, (1, 2, *size)).double()  # sums of small integers have no rounding errors
    pool, axes = POOLS[len(size)](filter_size, stride, "circular"), tuple(range(2, x.dim()))
    rolled = pool(x.roll([times * s for s in stride], axes))
    assert torch.equal(rolled, pool(x).roll([times] * len(axes), axes))


@pytest.mark.parametrize("mode", sorted(MODES))
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_gradients(ndim, mode):
    x = torch.randn(1, 2, *(5, 4, 3)[:ndim], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(POOLS[ndim](3, padding_mode=mode), x)
    assert torch.autograd.gradgradcheck(POOLS[ndim](3, padding_mode=mode), x)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_a_constant_input_does_not_change(mode):
    assert torch.equal(
        ws.nn.BlurPool2d(5, 3, mode)(torch.full((1, 2, 7, 8), 3.0)), torch.full((1, 2, 3, 3), 3.0)
    )


def test_one_tap_is_a_stride_without_a_filter():
    x = torch.randn(2, 3, 5, 6)
    assert torch.equal(ws.nn.BlurPool2d(1, 1)(x), x)
    assert torch.equal(ws.nn.BlurPool2d(1, 2)(x), x[..., ::2, ::2])
    assert torch.equal(ws.nn.BlurPool2d((1, 3))(x), ws.nn.BlurPool2d((1, 3), (1, 2))(x[..., ::2, :]))


def test_it_has_no_parameters_and_no_state():
    down = ws.nn.BlurPool2d()
    assert (dict(down.state_dict()), list(down.parameters()), list(down.buffers())) == ({}, [], [])
    with torch.device("meta"):
        empty = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), ws.nn.BlurPool2d())
    assert empty.to_empty(device="cpu")[1](torch.ones(1, 4, 8, 8)).eq(1).all()
    assert str(down) == "BlurPool2d(filter_size=(4, 4), stride=(2, 2), padding_mode='reflect')"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_dtypes_and_inputs_without_a_batch_axis(dtype):
    x = torch.randn(3, 9, 10, dtype=torch.float64)
    pool = ws.nn.BlurPool2d()
    torch.testing.assert_close(pool(x.to(dtype)), pool(x).to(dtype), rtol=2e-2, atol=2e-2)
    assert torch.equal(pool(x[None])[0], pool(x))


def test_it_compiles_to_one_graph():
    x = torch.randn(2, 3, 9, 10, requires_grad=True)
    pool = torch.nn.Sequential(torch.nn.ReLU(), ws.nn.BlurPool2d())
    torch.testing.assert_close(torch.compile(pool, fullgraph=True, backend="aot_eager")(x), pool(x))


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: ws.nn.BlurPool2d(0), ArgumentError, "BlurPool2d: filter_size must be at least 1, got 0"),
        (
            lambda: ws.nn.BlurPool2d(4, (2, 2, 2)),
            ArgumentError,
            r"stride must be .* tuple of length 2 .*got \(2, 2, 2\)",
        ),
        (
            lambda: ws.nn.BlurPool1d(stride=1.5),
            ArgumentError,
            "BlurPool1d: stride must be an integer, got 1.5",
        ),
        (
            lambda: ws.nn.BlurPool2d(padding_mode="mirror"),
            ArgumentError,
            "padding_mode must be one of 'circular', 'reflect', 'replicate', 'zeros', got 'mirror'",
        ),
        (
            lambda: ws.nn.BlurPool2d()(torch.zeros(8, 8)),
            ShapeError,
            r"input must be \[N, C, \*size\] or \[C, \*size\] with 2 spatial axes, got shape \(8, 8\)",
        ),
        (
            lambda: ws.nn.BlurPool2d()(torch.zeros(1, 8, 2, 8)),
            ShapeError,
            r"filter_size=\(4, 4\) with padding_mode='reflect' needs an input of at least 3 x 3, got 2 x 8",
        ),
        (
            lambda: ws.nn.BlurPool1d(6, padding_mode="circular")(torch.zeros(1, 1, 2)),
            ShapeError,
            "needs an input of at least 3, got 2; use a smaller filter",
        ),
        (
            lambda: ws.nn.BlurPool1d()(torch.zeros(1, 1, 8, dtype=torch.int64)),
            ArgumentError,
            "BlurPool1d: input must be floating point, got torch.int64",
        ),
    ],
)
def test_errors(call, error, text):
    with pytest.raises(error, match=text):
        call()


def test_a_list_is_not_an_input():
    with pytest.raises(ArgumentError, match=r"BlurPool2d: input must be a torch\.Tensor, got list"):
        ws.nn.BlurPool2d()([1.0])
