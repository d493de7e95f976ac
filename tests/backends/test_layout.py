"""Memory formats of images, for any shape and dtype."""

from math import prod

import torch
from hypothesis import given
from hypothesis import strategies as st

from weightshare.backends import layout

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
FORMATS = ["contiguous", "channels_last", "sliced"]
sizes = st.lists(st.integers(1, 5), min_size=1, max_size=3)


@st.composite
def images(draw, most=20):
    """Draw [N, C, *size] in any dtype and memory format, with distinct values; the batch may be empty."""
    shape = (draw(st.integers(0, most)), draw(st.integers(1, most)), *draw(sizes))
    numbers = torch.arange(prod(shape)).remainder(251).view(shape).to(draw(st.sampled_from(DTYPES)))
    return in_format(numbers, draw(st.sampled_from(FORMATS)))


def in_format(tensor, name):
    if name == "sliced":
        return tensor.repeat_interleave(2, -1)[..., ::2]
    if name == "channels_last":
        return tensor.movedim(1, -1).contiguous().movedim(-1, 1)
    return tensor


@given(images(), images())
def test_to_format_of(like, x):
    if like.dim() != x.dim():
        return
    got = layout.to_format_of(like, x)
    assert torch.equal(got, x)
    if layout.is_channels_last(like):
        assert got.is_contiguous(memory_format=layout.CHANNELS_LAST[x.dim()])
    else:
        assert got.is_contiguous()


def test_is_channels_last():
    x = torch.zeros(2, 3, 4, 5)
    assert not layout.is_channels_last(x)
    assert layout.is_channels_last(x.contiguous(memory_format=torch.channels_last))
    assert layout.is_channels_last(
        torch.zeros(2, 3, 4, 5, 6).contiguous(memory_format=torch.channels_last_3d)
    )
    one = torch.zeros(2, 1, 4, 5).contiguous(memory_format=torch.channels_last)
    assert not layout.is_channels_last(one), "a tensor that has both formats counts as contiguous"
    assert not layout.is_channels_last(torch.zeros(2, 4, 3).mT)
