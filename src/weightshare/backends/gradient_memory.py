"""Keep the memory of gradients from step to step, for weights whose users asked for it."""

import weakref
from collections.abc import Sequence
from math import prod
from threading import Lock

import numpy as np
import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

#: Smallest gradient, in bytes, whose memory is kept: allocators keep the memory of smaller ones themselves.
_LEAST = 1 << 20
#: Most blocks per weight: while gradients accumulate, one holds the sum and another the new gradient.
_MOST = 2
#: Alignment in bytes, so that vectors can be written directly.
_ALIGNMENT = 64


class _Blocks:
    """The blocks of memory of one weight, each with a weak reference to the array that a tensor uses."""

    def __init__(self) -> None:
        self._blocks: list[tuple[np.ndarray, weakref.ref]] = []
        self._lock = Lock()

    def take(self, size: int) -> np.ndarray | None:
        """Return the bytes of a block that no tensor uses; None if all are in use."""
        with self._lock:
            self._blocks = [pair for pair in self._blocks if len(pair[0]) == size + _ALIGNMENT]
            free = next((i for i, (_, user) in enumerate(self._blocks) if user() is None), None)
            if free is not None:
                block, _ = self._blocks.pop(free)
            elif len(self._blocks) < _MOST:
                block = np.empty(size + _ALIGNMENT, np.uint8)
            else:
                return None
            begin = -block.ctypes.data % _ALIGNMENT
            view = block[begin : begin + size]
            self._blocks.append((block, weakref.ref(view)))
            return view


_blocks: WeakTensorKeyDictionary = WeakTensorKeyDictionary()


def keep(weight: Tensor) -> None:
    """Keep the memory of this weight's gradients from now on."""
    if weight not in _blocks:
        _blocks[weight] = _Blocks()


def release(weight: Tensor) -> None:
    """Keep it no longer. Gradients that are in use remain valid."""
    _blocks.pop(weight, None)


def allocate(shape: Sequence[int], like: Tensor, weight: Tensor | None) -> Tensor:
    """Return an uninitialized tensor for the gradient of a weight, if it is known, in its kept memory.

    Args:
        shape: Shape of the gradient.
        like: Tensor with its device and dtype.
        weight: The weight, if it is known.
    """
    size = prod(shape) * like.element_size()
    if weight is not None and size >= _LEAST and len(_blocks) > 0:
        blocks = _blocks.get(weight)
        memory = None if blocks is None else blocks.take(size)
        if memory is not None:
            storage = torch.frombuffer(memory, dtype=like.dtype).untyped_storage()
            empty = like.new_empty(0)
            return empty.set_(storage, 0, tuple(shape))  # pyright: ignore[reportCallIssue]
    return like.new_empty(tuple(shape))
