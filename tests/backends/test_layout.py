"""Rearranging tensors equals permuting axes, for any shape, dtype and memory format; boxes of positions."""

import itertools
from contextlib import contextmanager
from math import prod

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from weightshare import Window
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


def same(got, expected):
    assert got.is_contiguous()
    assert got.dtype == expected.dtype
    assert torch.equal(got, expected)


@given(st.integers(0, 20), st.integers(1, 20), st.integers(1, 20), st.sampled_from(DTYPES))
def test_transpose(n, rows, columns, dtype):
    matrices = torch.arange(n * rows * columns).remainder(251).view(n, rows, columns).to(dtype)
    same(layout.transpose(matrices), matrices.mT)


@given(images())
def test_channels_last_and_back(x):
    last = layout.move_channels_last(x)
    same(last, x.movedim(1, -1))
    back = layout.move_channels_first(last, like=x)
    assert torch.equal(back, x)
    assert layout.is_channels_last(back) == layout.is_channels_last(x)


@contextmanager
def small_from(numbers):
    """Set the number of elements below which images are not rearranged."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "SMALL", numbers)
        yield


smalls = st.sampled_from([0, 2**14])


@given(images(), smalls)
def test_packing_channels_or_images_changes_only_the_order_in_memory(x, small):
    with small_from(small):
        packed_channels, packed_images = layout.pack_channels(x), layout.pack_images(x)
    assert torch.equal(packed_channels, x)
    assert torch.equal(packed_images, x)
    if not small:
        assert packed_channels.movedim(1, -1).is_contiguous()
        assert packed_images.movedim((1, 0), (-2, -1)).is_contiguous()


@given(images(), smalls)
def test_unpacking_images(x, small):
    last = x.movedim((1, 0), (-2, -1)).contiguous()
    assert torch.equal(layout.view_batch_first(last), x)
    with small_from(small):
        back = layout.unpack_images(last, like=x)
    assert torch.equal(back, x)
    assert layout.is_channels_last(back) == layout.is_channels_last(x)


@given(images(6), st.integers(1, 4), smalls)
def test_split_positions_and_back(x, groups, small):
    last = layout.is_channels_last(x)
    x = in_format(x.repeat_interleave(groups, 1), "channels_last" if last else "contiguous")
    with small_from(small):
        first = layout.split_positions(x, groups)
        back = layout.merge_positions(first, x.shape[2:], like=x)
    same(first, x.flatten(2).unflatten(1, (groups, -1)).permute(3, 1, 0, 2))
    assert torch.equal(back, x)
    assert layout.is_channels_last(back) == layout.is_channels_last(x)


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


@st.composite
def boxes_of_windows(draw):
    """Draw a padded input, a window that fits it, groups, and a box of positions (first position, counts)."""
    ndim = draw(st.integers(1, 3))
    numbers = [[draw(st.integers(1, 3)) for _ in range(ndim)] for _ in range(3)]
    window = Window(tuple(numbers[0]), tuple(numbers[1]), 0, tuple(numbers[2]), ndim=ndim)
    size = [extent + draw(st.integers(0, 4)) for extent in window.extent]
    out = window.output_size(tuple(size))
    start = [draw(st.integers(0, n - 1)) for n in out]
    counts = [draw(st.integers(1, n - first)) for n, first in zip(out, start)]
    groups, batch = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    shape = (batch, groups * draw(st.integers(1, 2)), *size)
    return torch.arange(prod(shape)).view(shape), window, groups, start, counts


@given(boxes_of_windows(), st.sampled_from(FORMATS))
def test_view_windows(case, form):
    """Every element is compared, for inputs in any memory format."""
    x, window, groups, start, counts = case
    x = in_format(x, form)
    first = layout.view_windows(x, window, groups, start, counts)
    assert first.shape == (*counts, groups, len(x), *window.kernel_size, x.shape[1] // groups)
    assert torch.equal(layout.move_images_last(first), first.movedim(window.ndim + 1, -1))
    for at in itertools.product(*map(range, counts)):
        for tap in itertools.product(*map(range, window.kernel_size)):
            where = [
                (first + i) * s + t * d
                for first, i, s, t, d in zip(start, at, window.stride, tap, window.dilation)
            ]
            expected = x[(..., *where)].unflatten(1, (groups, -1)).transpose(0, 1)
            assert torch.equal(first[(*at, slice(None), slice(None), *tap)], expected)


@given(sizes, st.integers(0, 130))
def test_boxes_cover_every_position_in_order(size, most):
    size, at = tuple(size), 0
    order = list(itertools.product(*map(range, size)))
    for start, counts, indices in layout.split_grid(size, most):
        assert prod(counts) <= max(1, most)
        assert (indices.start, indices.stop) == (at, at + prod(counts))
        inside = itertools.product(*(range(first, first + n) for first, n in zip(start, counts)))
        assert list(inside) == order[indices]
        at = indices.stop
    assert at == len(order)


@pytest.mark.parametrize(
    ("size", "most", "number"), [((10,), 4, 3), ((4, 6), 6, 4), ((4, 6), 24, 1), ((7, 7), 0, 49)]
)
def test_boxes_are_few_and_of_similar_size(size, most, number):
    volumes = [prod(counts) for _, counts, _ in layout.split_grid(size, most)]
    assert len(volumes) == number
    assert max(volumes) - min(volumes) <= max(volumes) // 2


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3))
def test_group_weights_and_back(n, taps, groups, per_group, out):
    weight = torch.arange(n * taps * per_group * groups * out).view(n, taps, per_group, groups * out)
    grouped = layout.group_weights(weight, groups)
    expected = [
        part[..., group * out : (group + 1) * out].flatten(0, 1) for part in weight for group in range(groups)
    ]
    assert torch.equal(grouped, torch.stack(expected))
    assert torch.equal(layout.ungroup_weights(grouped, groups, weight.shape), weight)
