"""Memory that is used again, so that the system need not clear it anew.

A layer that shares nothing has large gradients. Fresh memory of that size comes from the system page by page,
which takes longer than computing what is written there; so a gradient's memory, once the gradient is gone, is
kept for the next one of its size. Idle memory is marked as free: the system may take it back at any time.
"""

import ctypes
import mmap
import weakref
from collections.abc import Sequence
from contextlib import suppress
from math import prod

import numpy as np
import torch
from torch import Tensor

#: Bytes from which on a gradient's memory is kept, and weights ask for large pages.
SMALLEST = 8 * 2**20
#: Bytes from which on the C library asks the system for every allocation anew (glibc's largest threshold).
MAPPED = 32 * 2**20
_CAN_KEEP = hasattr(mmap, "MADV_FREE")
_LARGE_PAGES: int | None = getattr(mmap, "MADV_HUGEPAGE", None)
_C = ctypes.CDLL(None) if _LARGE_PAGES is not None else None
_idle: dict[int, list[mmap.mmap]] = {}
_lent = 0


def keep_temporaries() -> None:
    """Have the C library keep freed temporaries of some megabytes for the next ones.

    glibc learns from what a program frees which sizes to keep (mallopt(3), M_MMAP_THRESHOLD): it is shown one
    allocation, never written to, of the largest size that it learns from.
    """
    torch.empty(MAPPED - 2**16, dtype=torch.uint8, device="cpu")


def empty(shape: Sequence[int], like: Tensor) -> Tensor:
    """Uninitialised and contiguous, as `like.new_empty(shape)`, in memory used before where there is some."""
    global _lent
    size = prod(shape) * like.element_size()
    if size < SMALLEST or like.device.type != "cpu" or not _CAN_KEEP:
        return like.new_empty(tuple(shape))
    try:
        memory = _idle.get(size, []).pop()  # not first looked at: another thread may take the last one
    except IndexError:
        if sum(n * len(kept) for n, kept in _idle.copy().items()) > _lent:
            _idle.clear()  # more than is in use, and not of this size: left from other layers
        try:
            memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        except OSError:
            return like.new_empty(tuple(shape))  # torch says what there is too little of
        if _LARGE_PAGES is not None:
            with suppress(OSError):  # a system without them
                memory.madvise(_LARGE_PAGES)
    _lent += size
    lent = np.frombuffer(memory, np.uint8)
    weakref.finalize(lent, _take_back, size, memory).atexit = False
    return torch.from_numpy(lent).view(like.dtype).view(tuple(shape))  # holds `lent` as long as it lives


def with_large_pages(tensor: Tensor) -> Tensor:
    """Ask the system for pages of some megabytes under a large tensor: fewer to clear, and to look up.

    Before it is written to; a wish, which a system may not know and torch's own copies do not keep.
    """
    if _C is None or type(tensor) is not Tensor or tensor.device.type != "cpu":
        return tensor  # also one that stands for numbers, as while a program is traced
    if tensor.nbytes >= SMALLEST:
        first = -(-tensor.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
        length = (tensor.data_ptr() + tensor.nbytes - first) // mmap.PAGESIZE * mmap.PAGESIZE
        _C.madvise(ctypes.c_void_p(first), ctypes.c_size_t(length), _LARGE_PAGES)
    return tensor


def _take_back(size: int, memory: mmap.mmap) -> None:
    global _lent
    _lent -= size
    try:
        memory.madvise(mmap.MADV_FREE)
    except OSError:  # locked into memory, or a system that only has the name: given up
        return
    _idle.setdefault(size, []).append(memory)
