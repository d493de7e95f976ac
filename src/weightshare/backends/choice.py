"""Select the backend that computes a layer."""

from collections.abc import Sequence

from ..geometry import Window
from ..sharing import LowRank, Separable, Sharing
from . import native
from .base import Backend
from .local_native import LocalNative, choose_other
from .low_rank import BasisConvolutions
from .mapped import GatheredPositions
from .tiled_regional import PieceConvolutions


def choose(
    sharing: Sharing, window: Window, position_size: Sequence[int], groups: int, kernel_shape: Sequence[int]
) -> Backend:
    """Return the backend of a layer with this sharing.

    `Full` is not supported: torch computes it.

    Args:
        sharing: Any sharing except `Full`.
        window: Window of the layer.
        position_size: Number of positions per axis.
        groups: Number of channel groups.
        kernel_shape: Shape of one bank, [out, in/groups, *kernel_size]. Small kernels use another backend.
    """
    size = tuple(position_size)
    if isinstance(sharing, LowRank):
        return BasisConvolutions(window, size, groups)
    if isinstance(sharing, Separable):
        parts = sharing.parts(size)
        if any(len(axis) != n for axis, n in zip(parts, size)):
            return PieceConvolutions(window, size, groups, tuple(map(tuple, parts)))
        if native.load() is not None:
            return LocalNative(window, size, groups, window.padding)
        return choose_other(window, size, groups, kernel_shape[1], kernel_shape[0])
    return GatheredPositions(window, size, groups, tuple(sharing.labels(size)))
