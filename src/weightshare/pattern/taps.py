"""Find the input under each tap of each position, and the connections that follow from it.

Positions own kernels: they are the output positions of a layer, or the input positions of a transposed layer.
"Inputs" are on the window side: the layer's inputs, or the outputs of a transposed layer.
"""

from collections.abc import Sequence

import numpy as np

from ..geometry import PaddingModes, Window, find_padded_index, split_padding_mode


def inputs_under_taps(
    window: Window, positions: Sequence[int], inputs: Sequence[int], padding_mode: PaddingModes = "zeros"
) -> np.ndarray:
    """Return the row-major index of the input under each tap of each position [P, taps]; -1 for zero padding.

    >>> inputs_under_taps(Window(3, padding=1), (3,), (3,))
    array([[-1,  0,  1],
           [ 0,  1,  2],
           [ 1,  2, -1]])
    """
    sizes = enumerate(zip(positions, inputs, split_padding_mode(padding_mode, window.ndim)))
    return combine_axes([taps_along(window, axis, *along) for axis, along in sizes], inputs)


def taps_along(window: Window, axis: int, positions: int, inputs: int, padding_mode: str) -> np.ndarray:
    """Return the index of the input under each tap of each position of one axis [positions, taps]."""
    start = np.arange(positions)[:, None] * window.stride[axis] - window.padding[axis][0]
    at = start + np.arange(window.kernel_size[axis]) * window.dilation[axis]
    first = int(at.min())
    under = [find_padded_index(i, inputs, padding_mode) for i in range(first, int(at.max()) + 1)]
    return np.array([-1 if i is None else i for i in under])[at - first]


def combine_axes(axes: Sequence[np.ndarray], inputs: Sequence[int]) -> np.ndarray:
    """Combine the tables that `taps_along` returns for each axis into one table [P, taps], row-major."""
    table = np.zeros((1, 1), dtype=np.int64)
    for along, size in zip(axes, inputs):
        one, so_far = along[None, :, None, :], table[:, None, :, None]
        both = np.where((so_far < 0) | (one < 0), -1, so_far * size + one)
        table = both.reshape(len(table) * len(along), -1)
    return table


def list_connections(
    table: np.ndarray,
    labels: np.ndarray,
    position_channels: int,
    window_channels: int,
    groups: int,
    inputs: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (neuron on the position side, neuron on the window side, weight id) of each connection.

    Args:
        table: Input under each tap of each position [P, taps]; -1 for zero padding.
        labels: Bank of each position [P].
        position_channels: Number of channels on the position side.
        window_channels: Number of channels on the window side.
        groups: Number of channel groups.
        inputs: Number of inputs per channel.

    Returns:
        Three arrays of equal length. The weight id is the index into banks [K, position_channels,
        window_channels / groups, taps], flattened.
    """
    positions, taps = table.shape
    position, tap = np.nonzero(table >= 0)
    input_ = table[position, tap][:, None, None]
    position, tap = position[:, None, None], tap[:, None, None]
    per_group = window_channels // groups
    position_channel = np.arange(position_channels)[None, :, None]
    group_channel = np.arange(per_group)[None, None, :]
    group = position_channel // (position_channels // groups)
    position_neuron = position_channel * positions + position
    window_neuron = (group * per_group + group_channel) * inputs + input_
    ids = ((labels[position] * position_channels + position_channel) * per_group + group_channel) * taps + tap
    position_neuron, window_neuron, ids = np.broadcast_arrays(position_neuron, window_neuron, ids)
    return position_neuron.ravel(), window_neuron.ravel(), ids.ravel()
