"""Windows agree with torch's output sizes and padding, and receptive fields with gradients."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from weightshare.errors import ArgumentError, ShapeError
from weightshare.geometry import Window, find_padded_index, receptive_fields

numbers = st.integers(1, 4)


@given(numbers, numbers, st.integers(0, 3), numbers, st.integers(1, 30))
def test_output_size_is_torchs(kernel, stride, padding, dilation, size):
    window = Window(kernel, stride, padding, dilation)
    if size + 2 * padding < window.extent[0]:
        with pytest.raises(ShapeError, match="the padded input must be at least"):
            window.output_size(size)
        return
    conv = torch.nn.Conv1d(1, 1, kernel, stride, padding, dilation)
    assert window.output_size(size) == conv(torch.zeros(1, 1, size)).shape[2:]


@given(numbers, numbers, st.integers(10, 20))
def test_same_padding_is_torchs(kernel, dilation, size):
    window = Window(kernel, padding="same", dilation=dilation)
    assert window.output_size(size) == (size,)
    weight, line = torch.rand(1, 1, kernel), torch.rand(1, 1, size)
    expected = torch.nn.functional.conv1d(line, weight, padding="same", dilation=dilation)
    padded = torch.nn.functional.pad(line, window.padding[0])
    torch.testing.assert_close(torch.nn.functional.conv1d(padded, weight, dilation=dilation), expected)


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
def test_padded_index_is_torchs_padding(mode):
    line = torch.arange(5.0).view(1, 1, 5) + 1
    torch_mode = "constant" if mode == "zeros" else mode
    padded = torch.nn.functional.pad(line, (3, 3), mode=torch_mode)[0, 0]
    indices = [find_padded_index(i - 3, 5, mode) for i in range(11)]
    assert [0 if i is None else i + 1 for i in indices] == padded.tolist()


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(0, 2)), min_size=1, max_size=4))
def test_the_receptive_field_of_a_stack_is_where_its_gradient_is_nonzero(layers):
    windows = [Window(k, stride=s, padding=p) for k, s, p in layers]
    field = receptive_fields(windows)[-1]
    size = field.size[0] + 4 * field.stride[0] + 12
    x = torch.ones(1, 1, size, dtype=torch.float64, requires_grad=True)
    y = x
    for k, s, p in layers:
        weight = torch.ones(1, 1, k, dtype=torch.float64)
        y = torch.nn.functional.conv1d(y, weight, stride=s, padding=p)
    middle = y.shape[-1] // 2
    (grad,) = torch.autograd.grad(y[0, 0, middle], x)
    reached = grad[0, 0].nonzero().flatten()
    start = field.start[0] + middle * field.stride[0]
    inside = [i for i in range(start, start + field.size[0]) if 0 <= i < size]
    # the gradient is zero outside the field and nonzero at its ends; large strides can skip inputs between
    assert set(reached.tolist()) <= set(inside)
    if field.start[0] + middle * field.stride[0] >= 0 and start + field.size[0] <= size:
        assert reached[0] == start
        assert reached[-1] == start + field.size[0] - 1


def test_receptive_fields_of_the_first_layers_of_vgg():
    conv, pool = Window((3, 3), padding=1), Window((2, 2), stride=2)
    fields = receptive_fields([conv, conv, pool, conv, conv, pool])
    assert [field.size[0] for field in fields] == [3, 5, 6, 10, 14, 16]
    assert [field.stride[0] for field in fields] == [1, 1, 2, 2, 2, 4]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kernel_size": 0}, "Window: kernel_size must be at least 1, got 0."),
        ({"kernel_size": 3, "stride": -1}, "Window: stride must be at least 1, got -1."),
        (
            {"kernel_size": (3, 3, 3), "ndim": 2},
            "Window: kernel_size must be an integer or a tuple of length 2 (one entry per spatial "
            "axis), got (3, 3, 3).",
        ),
        ({"kernel_size": 3, "ndim": -1}, "Window: ndim must be at least 0, got -1."),
        (
            {"kernel_size": 2.5},
            "Window: kernel_size must be an integer, got 2.5.",
        ),
        (
            {"kernel_size": 3, "padding": "full"},
            "Window: padding must be integers, 'same' or 'valid', got 'full'.",
        ),
        (
            {"kernel_size": 3, "stride": 2, "padding": "same"},
            "Window: padding='same' needs stride 1, got stride=(2,); pass the padding as integers.",
        ),
    ],
)
def test_invalid_windows(arguments, message):
    with pytest.raises(ArgumentError) as error:
        Window(**arguments)
    assert str(error.value) == message


def test_receptive_fields_need_windows_with_the_same_number_of_axes():
    with pytest.raises(ArgumentError, match=r"item 1: every item must be a Window .*, got ReLU; pass Window"):
        receptive_fields([Window(3), torch.nn.ReLU()])
    with pytest.raises(
        ArgumentError, match=r"item 1: every window must have as many axes as the first \(1\), got 2"
    ):
        receptive_fields([Window(3), Window((3, 3))])
