"""The picture of a layer's kernels at their positions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .._args import check_per_axis, format_size
from ..errors import ArgumentError
from ..views.optional import require_matplotlib

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_kernels(layer: Any, channels: object, ax: Axes | None) -> Figure:
    """Return the picture of `SharedLayer.plot_kernels`."""
    name = type(layer).__name__
    where = f"{name}.plot_kernels"
    ndim = len(layer.kernel_size)
    if ndim > 2:
        hint = "plot a slice of kernels() yourself"
        raise ArgumentError(where, "the layer must have one or two spatial axes", str(ndim), hint)
    if layer.weight.is_meta:
        raise ArgumentError(where, "the weight must have values", "a tensor on the meta device")
    pair = _check_channels(where, channels, layer.kernels().shape[1:3])
    with require_matplotlib(where):
        from ..views.kernels import choose_indices, draw_kernels
    size = layer.position_size or (1,) * ndim
    axes = [choose_indices(n) for n in size]
    values = _gather_kernels(layer, pair, axes).detach().double().cpu()
    columns = values.reshape(len(axes[0]), -1, *(1,) * (2 - ndim), *layer.kernel_size).numpy()
    note = f"{format_size(size)} positions" if layer.position_size else "all positions"
    if any(len(shown) < n for shown, n in zip(axes, size)):
        note += f" ({format_size([*map(len, axes)])} shown)"
    labels: list[Any] = [[str(i) for i in shown] for shown in axes] if layer.position_size else []
    note += f", channels {pair}"
    return draw_kernels(where, columns, *labels, title=f"{name}, {layer.sharing!r}", note=note, ax=ax)


def _gather_kernels(layer: Any, pair: tuple[int, ...], axes: list[list[int]]) -> Tensor:
    """Return the kernels of a channel pair at some indices of each axis, [positions, *kernel_size]."""
    banks = layer.kernels()[:, pair[0], pair[1]]
    if layer.position_size is None:
        return banks
    positions = torch.tensor([0])
    for shown, n in zip(axes, layer.position_size):
        positions = (positions[:, None] * n + torch.tensor(shown)).flatten()
    coefficients = layer._coefficients()
    if coefficients is None:
        labels = torch.tensor(layer.sharing.labels(layer.position_size))[positions]
        return banks[labels.to(banks.device)]
    weights = coefficients.flatten(1)[:, positions.to(banks.device)]
    return banks[0] + torch.einsum("kp,k...->p...", weights, banks[1:])


def _check_channels(where: str, channels: object, counts: tuple[int, ...]) -> tuple[int, ...]:
    """Return the two indices; raise `ArgumentError` if they are not indices of the channel axes."""
    pair = check_per_axis(where, "channels", channels, 2, least=0)
    if any(index >= count for index, count in zip(pair, counts)):
        expected = f"channels must be below {tuple(counts)}, the channels of kernels()"
        raise ArgumentError(where, expected, str(pair))
    return pair
