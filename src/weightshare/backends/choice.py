"""Select the backend that computes a layer."""

from collections.abc import Sequence

from ..geometry import Window
from ..sharing import Local, LowRank, Separable, Sharing
from .base import Backend
from .low_rank import BasisConvolutions
from .one_hot import OneHotBackend


def choose(sharing: Sharing, window: Window, position_size: Sequence[int], groups: int) -> Backend:
    """Return the backend of a layer with this sharing.

    `Full` is not supported: torch computes it.

    Args:
        sharing: Any sharing except `Full`.
        window: Window of the layer.
        position_size: Number of positions per axis.
        groups: Number of channel groups.
    """
    size = tuple(position_size)
    if isinstance(sharing, LowRank):
        return BasisConvolutions(window, size, groups)
    geometry = window, size, groups, window.padding
    if sharing == Local():
        return OneHotBackend(*geometry)
    if not isinstance(sharing, Separable):
        return OneHotBackend(*geometry, labels=tuple(sharing.labels(size)))
    return OneHotBackend(*geometry, parts=tuple(map(tuple, sharing.parts(size))))
