"""What the first layer learned, as numbers small enough to be kept with a trial."""

from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
import torch

MAX_CHANNELS = 32
MAX_GRID = 12
DIGITS = 4


@dataclass(frozen=True)
class FirstLayer:
    """The kernels of a layer, and how they differ by position.

    Args:
        mean: Every output channel's kernel, averaged over the positions [out, in, kh, kw]; the first 32.
        spread: Part of the kernels' energy (sum of squares) that lies in their differences from that mean, 0
            for a convolution, below 1.
        channel: The output channel whose kernels differ most; None where none do.
        rows, columns: The positions, at most 12 an axis, where it is shown.
        by_position: Its kernels there [rows, columns, in, kh, kw]; None where none differ.
    """

    mean: list[Any]
    spread: float
    channel: int | None = None
    rows: list[int] | None = None
    columns: list[int] | None = None
    by_position: list[Any] | None = None

    def check(self) -> None:
        """Raise TypeError or ValueError unless these are kernels."""
        mean, spread = finite(self.mean, 4), number(self.spread)
        if not 0 <= spread <= 1 or 0 in mean:
            raise ValueError
        if self.by_position is not None:
            shown = finite(self.by_position, 5)
            if 0 in shown or shown[:2] != (*finite(self.rows, 1), *finite(self.columns, 1)):
                raise ValueError
            number(self.channel)


def number(value: Any) -> float:
    """A finite number as a float; anything else raises TypeError or ValueError."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    if not isfinite(value):
        raise ValueError
    return float(value)


def finite(nested: Any, axes: int) -> tuple[int, ...]:
    """The shape of nested lists of finite numbers; anything else raises ValueError."""
    array = np.array(nested)
    if array.ndim != axes or array.dtype.kind not in "if" or not np.isfinite(array).all():
        raise ValueError
    return array.shape


@torch.no_grad()
def look(layer: Any, size: tuple[int, int]) -> FirstLayer:
    """Read the kernels of a layer whose output has this size."""
    banks = layer.kernels().detach().float().cpu()
    if len(banks) == 1:
        return FirstLayer(rounded(banks[0][:MAX_CHANNELS]), 0.0)
    assignment = layer.assignment().detach().float().cpu()
    kernels = (assignment @ banks.flatten(1)).reshape(-1, *banks.shape[1:])
    mean = kernels.mean(0)
    differences = (kernels - mean).square().sum((0, 2, 3, 4))
    spread = (differences.sum() / kernels.square().sum().clamp_min(1e-30)).item()
    channel = int(differences.argmax())
    rows, columns = sampled(size[0]), sampled(size[1])
    shown = kernels[:, channel].reshape(*size, *kernels.shape[2:])[rows][:, columns]
    return FirstLayer(rounded(mean[:MAX_CHANNELS]), round(spread, 6), channel, rows, columns, rounded(shown))


def sampled(length: int) -> list[int]:
    """At most `MAX_GRID` indices of an axis, evenly spaced, both ends among them.

    >>> sampled(5)
    [0, 1, 2, 3, 4]
    """
    if length <= MAX_GRID:
        return list(range(length))
    return [round(i * (length - 1) / (MAX_GRID - 1)) for i in range(MAX_GRID)]


def rounded(values: torch.Tensor) -> list[Any]:
    """Nested lists of numbers with few digits."""
    return torch.round(values.double(), decimals=DIGITS).tolist()
