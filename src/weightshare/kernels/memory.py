"""Memory that is used again, so that the system need not clear it anew.

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
_lent = 0


def keep_temporaries() -> None:
    """Have the C library keep freed temporaries of some megabytes for the next ones.

    glibc learns from what a program frees which sizes to keep (mallopt(3), M_MMAP_THRESHOLD): it is shown one
    allocation, never written to, of the largest size that it learns from.
    """
    torch.empty(SMALLEST - 2**16, dtype=torch.uint8, device="cpu")


def empty(shape: Sequence[int], like: Tensor) -> Tensor:
    """Uninitialised and contiguous, as `like.new_empty(shape)`, in memory used before where there is some."""
    global _lent
    size = prod(shape) * like.element_size()
    if size < SMALLEST or like.device.type != "cpu" or not _CAN_KEEP:
        return like.new_empty(tuple(shape))
    try:
        memory = _idle.get(size, []).pop()  # not first looked at: another thread may take the last one
    except IndexError:
        if sum(n * len(kept) for n, kept in _idle.items()) > _lent:
            _idle.clear()  # more than is in use, and not of this size: left from other layers
        try:
            memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        except OSError:
            return like.new_empty(tuple(shape))  # torch says what there is too little of
    _lent += size
    lent = np.frombuffer(memory, np.uint8)
    weakref.finalize(lent, _take_back, size, memory).atexit = False
    return torch.from_numpy(lent).view(like.dtype).view(tuple(shape))  # holds `lent` as long as it lives


def _take_back(size: int, memory: mmap.mmap) -> None:
    global _lent
    _lent -= size
    memory.madvise(mmap.MADV_FREE)
    _idle.setdefault(size, []).append(memory)
