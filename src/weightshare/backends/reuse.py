"""Reuse the memory of large gradients on the CPU, so that the system does not have to clear new memory.

The weight gradients of `Local` layers are large. The system clears new memory page by page, which takes
longer than computing the gradient. The memory of a gradient that is no longer used is therefore kept for
the next gradient of the same size. It is marked as free in the meantime, so that the system can reclaim it.
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

#: Size in bytes from which gradients reuse memory and weights request large pages.
SMALLEST = 8 * 2**20
#: Size in bytes from which the C library always requests new memory from the system (glibc's largest
#: threshold).
MAPPED = 32 * 2**20
_CAN_KEEP = hasattr(mmap, "MADV_FREE")
_LARGE_PAGES: int | None = getattr(mmap, "MADV_HUGEPAGE", None)
_C = ctypes.CDLL(None) if _LARGE_PAGES is not None else None
_idle: dict[int, list[mmap.mmap]] = {}
_lent = 0


def keep_temporaries() -> None:
    """Make the C library reuse the memory of temporaries of several megabytes.

    glibc returns freed blocks to the system above a threshold, which it raises to the size of the largest
    block that the program has freed (mallopt(3), M_MMAP_THRESHOLD). This function therefore allocates and
    frees one block of the largest size that raises the threshold. Its memory is never written to.
    """
    torch.empty(MAPPED - 2**16, dtype=torch.uint8, device="cpu")


def allocate(shape: Sequence[int], like: Tensor) -> Tensor:
    """Return `like.new_empty(shape)`, contiguous and in reused memory if possible."""
    global _lent
    size = prod(shape) * like.element_size()
    if size < SMALLEST or like.device.type != "cpu" or not _CAN_KEEP:
        return like.new_empty(tuple(shape))
    try:
        memory = _idle.get(size, []).pop()  # a check could be outdated: other threads take memory too
    except IndexError:
        if sum(n * len(blocks) for n, blocks in _idle.copy().items()) > _lent:
            _idle.clear()  # more memory is idle than in use, and none has this size: other layers used it
        try:
            memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        except OSError:
            return like.new_empty(tuple(shape))  # if this fails too, torch raises its own error
        if _LARGE_PAGES is not None:
            with suppress(OSError):  # some systems have no large pages
                memory.madvise(_LARGE_PAGES)
    _lent += size
    lent = np.frombuffer(memory, np.uint8)
    weakref.finalize(lent, _take_back, size, memory).atexit = False
    return torch.from_numpy(lent).view(like.dtype).view(tuple(shape))  # the tensor keeps `lent` alive


def request_large_pages(tensor: Tensor) -> Tensor:
    """Ask the system to back a large new tensor with pages of several megabytes, and return the tensor.

    Large pages are faster to clear and to look up. The request is best effort: it must precede the first
    write, the system may ignore it, and copies that torch makes do not inherit it.
    """
    if _C is None or type(tensor) is not Tensor or tensor.device.type != "cpu":
        return tensor  # subclasses include the fake tensors of a tracer, which have no memory
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
    except OSError:  # the memory is locked, or the system does not support MADV_FREE
        return
    _idle.setdefault(size, []).append(memory)
