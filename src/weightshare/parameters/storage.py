"""Which bytes a tensor occupies, so that elements which two parameters share are counted once."""

from collections.abc import Hashable, Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from .._torch import storage_id

#: [n, 2] ranges of bytes, sorted and disjoint.
Ranges = np.ndarray
#: What a class overrides whose tensors are not their own storage.
_DISPATCH = "__torch_dispatch__"


def is_plain(tensor: Tensor) -> bool:
    """Whether a tensor's own storage holds its numbers: not lazy, sharded, sparse, nested or wrapped."""
    own = getattr(type(tensor), _DISPATCH) == getattr(Tensor, _DISPATCH)
    return own and not is_lazy(tensor) and tensor.layout == torch.strided and not tensor.is_nested


def storage_of(tensor: Tensor) -> Hashable | None:
    """What two tensors have in common exactly when they share memory; None where that means nothing.

    Valid as long as the tensors are held: the place of freed memory is given to others.
    """
    if not is_plain(tensor) or tensor.numel() == 0:
        return None
    storage = tensor.untyped_storage()
    if tensor.device.type == "meta":
        return "meta", storage_id(tensor)  # without memory: the storage itself
    return (tensor.device, storage.data_ptr()) if storage.data_ptr() else None


def ranges_of(tensor: Tensor) -> Ranges:
    """The bytes of its storage that a plain tensor occupies."""
    block, starts = 1, np.array([tensor.storage_offset()])
    for stride, n in sorted(zip(tensor.stride(), tensor.shape)):
        if stride == block and len(starts) == 1:
            block *= n  # side by side
        elif stride and n > 1:
            starts = (starts[:, None] + stride * np.arange(n)).reshape(-1)
    blocks = np.stack([starts, starts + block], axis=1)
    return tensor.element_size() * union(blocks[:0], blocks)


def union(ranges: Ranges, more: Ranges) -> Ranges:
    """All bytes of both."""
    both = np.concatenate([ranges, more])
    both = both[np.argsort(both[:, 0], kind="stable")]
    reach = np.maximum.accumulate(both[:, 1])
    starts = np.concatenate([[True], both[1:, 0] > reach[:-1]])
    ends = np.concatenate([starts[1:], [True]])
    return np.stack([both[starts, 0], reach[ends]], axis=1)


def overlap(first: Tensor, second: Tensor) -> bool:
    """Whether two tensors share elements."""
    place = storage_of(first)
    if place is None or place != storage_of(second):
        return False
    ranges, more = ranges_of(first), ranges_of(second)
    return length(union(ranges, more)) < length(ranges) + length(more)


def length(ranges: Ranges) -> int:
    """How many bytes."""
    return int((ranges[:, 1] - ranges[:, 0]).sum())


def is_quantised(tensor: Tensor) -> bool:
    """Whether a parameter's numbers are stored as integers, in itself or in the tensors inside it."""
    if is_lazy(tensor):
        return False
    parts = [tensor, *_inside(tensor)]
    return any(not (t.is_floating_point() or t.is_complex() or t.dtype == torch.bool) for t in parts)


def nbytes(tensor: Tensor) -> int:
    """Bytes that a tensor's numbers take, of a sharded one those of all its shards."""
    if is_lazy(tensor):
        return 0
    parts = list(_inside(tensor)) if is_quantised(tensor) else []
    return sum(map(nbytes, parts)) if parts else tensor.numel() * tensor.element_size()


def _inside(tensor: Tensor) -> Iterator[Tensor]:
    """The tensors that one of a wrapping class holds."""
    flatten = getattr(tensor, "__tensor_flatten__", None)
    if flatten is not None and not is_plain(tensor):
        held = (getattr(tensor, name) for name in flatten()[0])
        yield from (part for part in held if isinstance(part, Tensor))
