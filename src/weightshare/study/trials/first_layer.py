"""The kernels that the first layer learned, sampled so that they are small enough to store with a trial."""

from dataclasses import dataclass
from typing import Any

import torch

from ...nn.base import SharedLayer
from ..checks import check_array, check_number

MAX_CHANNELS = 32
MAX_GRID = 12
DECIMALS = 4


@dataclass(frozen=True)
class FirstLayer:
    """The kernels of a layer, and how they differ between positions.

    Args:
        mean: Kernel of each output channel (at most 32), averaged over the positions [out, in, kh, kw].
        spread: Share of the kernels' energy (sum of squares) in their deviations from that mean, from 0 (a
            convolution) to 1.
        channel: The output channel whose kernels differ most; None if all positions have the same kernels.
        rows, columns: Positions at which that channel is shown, at most 12 per axis.
        by_position: Kernels of that channel at these positions [rows, columns, in, kh, kw]; None if all
            positions have the same kernels.
    """

    mean: list[Any]
    spread: float
    channel: int | None = None
    rows: list[int] | None = None
    columns: list[int] | None = None
    by_position: list[Any] | None = None

    def check(self) -> None:
        """Raise a TypeError or ValueError if a value is invalid."""
        check_number(self.spread, most=1.0)
        if 0 in check_array(self.mean, 4):
            raise ValueError
        if self.by_position is not None:
            shape = check_array(self.by_position, 5)
            if 0 in shape or shape[:2] != (*check_array(self.rows, 1), *check_array(self.columns, 1)):
                raise ValueError
            check_number(self.channel)


@torch.no_grad()
def sample_kernels(layer: SharedLayer) -> FirstLayer:
    """Return the sampled kernels of a layer with two axes."""
    banks = layer.kernels().detach().float().cpu()
    if len(banks) == 1:
        return FirstLayer(_round(banks[0][:MAX_CHANNELS]), 0.0)
    size = layer.output_size
    assert size is not None  # sharings with several banks need it
    assignment = layer.assignment().detach().float().cpu()
    kernels = (assignment @ banks.flatten(1)).reshape(-1, *banks.shape[1:])
    mean = kernels.mean(0)
    deviations = (kernels - mean).square().sum((0, 2, 3, 4))
    spread = (deviations.sum() / kernels.square().sum().clamp_min(1e-30)).item()
    channel = int(deviations.argmax())
    rows, columns = sample_indices(size[0]), sample_indices(size[1])
    shown = kernels[:, channel].reshape(*size, *kernels.shape[2:])[rows][:, columns]
    return FirstLayer(_round(mean[:MAX_CHANNELS]), round(spread, 6), channel, rows, columns, _round(shown))


def sample_indices(length: int) -> list[int]:
    """Return at most `MAX_GRID` evenly spaced indices of an axis, including both ends.

    >>> sample_indices(5)
    [0, 1, 2, 3, 4]
    """
    if length <= MAX_GRID:
        return list(range(length))
    return [round(i * (length - 1) / (MAX_GRID - 1)) for i in range(MAX_GRID)]


def _round(values: torch.Tensor) -> list[Any]:
    """Return the values as nested lists, rounded to four decimals."""
    return torch.round(values.double(), decimals=DECIMALS).tolist()
