"""Which input stands under every tap of every position, as one table of numbers."""

from typing import Any

import torch
from torch import Tensor

from ..geometry import padded_index


def inputs_under_taps(layer: Any) -> Tensor:
    """The input under every tap of every position [P, taps], counted row-major; -1 where it is zero padding.

    Of a transposed layer, the output that the tap of an input position adds to; -1 where it is cut off.

    >>> from weightshare import nn
    >>> inputs_under_taps(nn.Conv1d(1, 1, 3, padding=1, input_size=3))
    tensor([[-1,  0,  1],
            [ 0,  1,  2],
            [ 1,  2, -1]])
    """
    size = layer.output_size if layer.transposed else layer.input_size
    table = torch.zeros(1, 1, dtype=torch.int64, device="cpu")
    for axis, (positions, inputs) in enumerate(zip(layer.position_size, size)):  # type: ignore[arg-type]
        one = _along(layer, axis, positions, inputs)[None, :, None, :]
        so_far = table[:, None, :, None]
        both = torch.where((so_far < 0) | (one < 0), -1, so_far * inputs + one)
        table = both.flatten(2).flatten(0, 1)
    return table


def _along(layer: Any, axis: int, positions: int, inputs: int) -> Tensor:
    """The same for one axis [positions, taps]."""
    window, mode = layer.window, layer.padding_mode
    stride, dilation, before = window.stride[axis], window.dilation[axis], window.padding[axis][0]
    rows = [
        [
            padded_index(i * stride + t * dilation - before, inputs, mode)
            for t in range(window.kernel_size[axis])
        ]
        for i in range(positions)
    ]
    return torch.tensor([[-1 if index is None else index for index in row] for row in rows], device="cpu")
