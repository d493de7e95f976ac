"""Sizes that cannot be addressed or do not fit in memory: an error before anything is computed."""

import pytest
import torch

from weightshare import Full, Local, LowRank, functional, nn
from weightshare.errors import ArgumentError

HUGE = 10**30


@pytest.mark.parametrize("sharing", [Full(), Local()], ids=str)
@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("in_channels", {"in_channels": HUGE}),
        ("out_channels", {"out_channels": 2**31}),
        ("kernel_size", {"kernel_size": 10**12}),
        ("stride", {"stride": (1, HUGE)}),
        ("padding", {"padding": HUGE}),
        ("padding", {"padding": ((0, 2**31), (0, 0))}),
        ("dilation", {"dilation": (HUGE, 1), "padding": (2**31 - 1, 0)}),
        ("input_size", {"input_size": (8, HUGE)}),
    ],
)
def test_sizes_that_cannot_be_addressed(sharing, name, change):
    arguments = {"in_channels": 1, "out_channels": 1, "kernel_size": 3, "input_size": 8, "sharing": sharing}
    with pytest.raises(ArgumentError) as error:
        nn.Conv2d(**{**arguments, **change})
    assert str(error.value).startswith(f"Conv2d: {name} must be at most 2,147,483,647, got ")


def test_functions_and_transposed_layers():
    with pytest.raises(ArgumentError, match="conv2d: padding must be at most 2,147,483,647, got 1,000"):
        functional.conv2d(torch.zeros(1, 1, 4, 4), torch.zeros(4, 3, 3, 1, 1), padding=HUGE, sharing=Local())
    with pytest.raises(ArgumentError, match="ConvTranspose1d: stride must be at most 2,147,483,647, got 4,"):
        nn.ConvTranspose1d(1, 1, 3, stride=2**32)


@pytest.mark.parametrize("sharing", [Local(), LowRank(10**20)], ids=str)
def test_a_weight_that_no_machine_can_hold(sharing):
    with pytest.raises(ArgumentError) as error:
        nn.Conv2d(64, 64, 9, sharing=sharing, input_size=10**9, device="meta")
    assert "must fit in 4,611,686,018,427,387,904 bytes of memory, got " in str(error.value)


def test_a_weight_that_does_not_fit_in_the_free_memory(monkeypatch):
    monkeypatch.setattr("weightshare._memory.get_free_bytes", lambda: 2**30)
    with pytest.raises(ArgumentError) as error:
        nn.Conv2d(16, 16, 9, sharing=Local(), input_size=200)
    assert str(error.value) == (
        "Conv2d: the weight for sharing=Local() must fit in 1,073,741,824 bytes of memory, got 764,411,904 "
        "elements (3,057,647,616 bytes); use smaller sizes, fewer channels or more sharing."
    )
    layer = nn.Conv2d(16, 16, 9, sharing=Local(), input_size=200, device="meta")
    assert layer.weight.numel() == 764_411_904
