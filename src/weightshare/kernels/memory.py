"""Memory for weight gradients that is used again.

A layer that shares nothing has large gradients. Fresh memory of that size comes from the system page by page,
which takes longer than computing what is written there; so a gradient's memory, once the gradient is gone, is
kept for the next one of its size. Idle memory is marked as free: the system may take it back at any time.
"""

import mmap
import weakref
from collections.abc import Sequence
from math import prod

import numpy as np
import torch
from torch import Tensor

#: Bytes from which on the C library asks the system for every allocation anew (glibc's largest threshold).
SMALLEST = 32 * 2**20
_CAN_KEEP = hasattr(mmap, "MADV_FREE")
_idle: dict[int, list[mmap.mmap]] = {}


def empty(shape: Sequence[int], like: Tensor) -> Tensor:
    """Uninitialised and contiguous, as `like.new_empty(shape)`, in memory used before where there is some."""
    size = prod(shape) * like.element_size()
    if size < SMALLEST or like.device.type != "cpu" or not _CAN_KEEP:
        return like.new_empty(tuple(shape))
    kept = _idle.get(size)
    if not kept:
        _idle.clear()  # other sizes are asked for than before: what is idle is of no use
    memory = kept.pop() if kept else mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    lent = np.frombuffer(memory, np.uint8)
    weakref.finalize(lent, _take_back, size, memory).atexit = False
    return torch.from_numpy(lent).view(like.dtype).view(tuple(shape))  # holds `lent` as long as it lives


def _take_back(size: int, memory: mmap.mmap) -> None:
    memory.madvise(mmap.MADV_FREE)
    _idle.setdefault(size, []).append(memory)
