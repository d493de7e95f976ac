"""Byte ranges of tensors in their storage, so that elements shared by two parameters are counted once."""

from collections.abc import Hashable, Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from .._torch import get_storage_id

#: [n, 2] byte ranges, sorted and disjoint.
Ranges = np.ndarray
#: Number of elements per byte of the data types that pack several into one.
PER_BYTE = {torch.float4_e2m1fn_x2: 2, torch.quint4x2: 2, torch.quint2x4: 4}
#: Method overridden by tensor subclasses whose elements are not in their own storage.
_DISPATCH = "__torch_dispatch__"


def is_plain(tensor: Tensor) -> bool:
    """Return whether the elements are in the tensor's own storage.

    They are not if the tensor is lazy, sharded, sparse, nested, or a wrapper of other tensors.
    """
    own = getattr(type(tensor), _DISPATCH) == getattr(Tensor, _DISPATCH)
    return own and not is_lazy(tensor) and tensor.layout == torch.strided and not tensor.is_nested


def get_storage_key(tensor: Tensor) -> Hashable | None:
    """Return a key that two tensors have in common if and only if they use the same storage.

    The key is None for tensors without a storage of their own. It is valid only while the tensors are alive,
    because freed memory is used again.
    """
    if not is_plain(tensor) or tensor.numel() == 0:
        return None
    storage = tensor.untyped_storage()
    if tensor.device.type == "meta":
        return "meta", get_storage_id(tensor)  # meta tensors have no address
    return (tensor.device, storage.data_ptr()) if storage.data_ptr() else None


def has_overlap(first: Tensor, second: Tensor) -> bool:
    """Return whether two tensors share elements."""
    storage = get_storage_key(first)
    if storage is None or storage != get_storage_key(second):
        return False
    ranges, others = get_byte_ranges(first), get_byte_ranges(second)
    return count_bytes(merge(ranges, others)) < count_bytes(ranges) + count_bytes(others)


def get_byte_ranges(tensor: Tensor) -> Ranges:
    """Return the bytes of its storage that a plain tensor occupies."""
    block, starts = 1, np.array([tensor.storage_offset()])
    for stride, n in sorted(zip(tensor.stride(), tensor.shape)):
        if stride == block and len(starts) == 1:
            block *= n  # contiguous so far
        elif stride and n > 1:
            starts = (starts[:, None] + stride * np.arange(n)).reshape(-1)
    blocks = np.stack([starts, starts + block], axis=1)
    return tensor.element_size() * merge(blocks[:0], blocks)


def merge(ranges: Ranges, others: Ranges) -> Ranges:
    """Return the bytes that are in either of two sets of ranges."""
    both = np.concatenate([ranges, others])
    both = both[np.argsort(both[:, 0], kind="stable")]
    reach = np.maximum.accumulate(both[:, 1])
    starts = np.concatenate([[True], both[1:, 0] > reach[:-1]])
    ends = np.concatenate([starts[1:], [True]])
    return np.stack([both[starts, 0], reach[ends]], axis=1)


def count_bytes(ranges: Ranges) -> int:
    """Return the total number of bytes in the ranges."""
    return int((ranges[:, 1] - ranges[:, 0]).sum())


def is_quantized(tensor: Tensor) -> bool:
    """Return whether the values are stored as integers, in the tensor itself or in tensors that it wraps."""
    if is_lazy(tensor):
        return False
    parts = [tensor, *iter_wrapped(tensor)]
    return any(is_integer(part) for part in parts)


def is_integer(tensor: Tensor) -> bool:
    """Return whether the elements are integers, also those of torch's quantized data types."""
    return not (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool)


def nbytes(tensor: Tensor) -> int:
    """Return the size of a tensor in bytes, with the indices of a sparse tensor."""
    if is_lazy(tensor):
        return 0
    parts = list(iter_wrapped(tensor)) if is_quantized(tensor) else _list_sparse(tensor)
    if parts:
        return sum(map(nbytes, parts))
    size = tensor.numel() * tensor.element_size()
    return size // PER_BYTE[tensor.dtype] if tensor.is_quantized and tensor.dtype in PER_BYTE else size


def iter_wrapped(tensor: Tensor) -> Iterator[Tensor]:
    """Yield the tensors inside a wrapper subclass, except the offsets and values of a nested tensor."""
    flatten = getattr(tensor, "__tensor_flatten__", None)
    if flatten is not None and not is_plain(tensor) and not tensor.is_nested:
        inner = (getattr(tensor, name) for name in flatten()[0])
        yield from (part for part in inner if isinstance(part, Tensor))


def _list_sparse(tensor: Tensor) -> list[Tensor]:
    """Return the values and indices of a sparse tensor; nothing for any other."""
    if tensor.layout == torch.sparse_coo:
        return [tensor._values(), tensor._indices()]
    if tensor.layout in (torch.sparse_csr, torch.sparse_bsr):
        return [tensor.values(), tensor.crow_indices(), tensor.col_indices()]
    if tensor.layout in (torch.sparse_csc, torch.sparse_bsc):
        return [tensor.values(), tensor.ccol_indices(), tensor.row_indices()]
    return []
