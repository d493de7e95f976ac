"""Small trained networks and data for the tests of `diagnose`."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d
from torch.utils.data import TensorDataset

#: Arguments of `sharing_test` for short training.
QUICK = {"epochs": 1, "batch_size": 10}


class StoppedError(Exception):
    """Raised by the callback of `stop_after`."""


def stop_after(count: int) -> Callable[[Any], None]:
    """Return a progress callback that raises an error after some trials, like an interrupt."""

    def progress(state: Any) -> None:
        if state.done == count:
            raise StoppedError

    return progress


def make_network(channels: int = 4, size: int = 6) -> nn.Sequential:
    """Return an untrained network with two convolutions and batch norm, in evaluation mode."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, channels, 3, padding=1),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels, channels, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(channels * (size - 2) ** 2, 3),
    ).eval()


def make_examples(count: int = 60, size: int = 6) -> TensorDataset:
    """Return images [count, 1, size, size] of noise, with three classes that depend on the upper half."""
    torch.manual_seed(1)
    x = torch.randn(count, 1, size, size)
    upper = x[:, 0, : size // 2].mean((1, 2)) * size
    return TensorDataset(x, (upper > -0.5).long() + (upper > 0.5).long())


def make_planted(count: int, strength: float) -> tuple[nn.Module, TensorDataset, Tensor]:
    """Return a fitted convolution, data whose kernel is another one in a quarter, and the map of the latter.

    The targets are the outputs of the convolution with noise of variance 1.
    """
    torch.manual_seed(2)
    x = torch.randn(count, 1, 8, 8)
    is_other = torch.zeros(8, 8)
    is_other[:4, :4] = 1
    shared, other = torch.randn(2, 2, 1, 3, 3)
    y = conv2d(x, shared, padding=1) + strength * is_other * conv2d(x, other, padding=1)
    model = nn.Conv2d(1, 2, 3, padding=1)
    with torch.no_grad():
        model.weight.copy_(shared + strength * other / 4)
        model.bias.zero_()
    return nn.Sequential(model).eval(), TensorDataset(x, y + torch.randn_like(y)), is_other
