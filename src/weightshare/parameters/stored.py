"""A parameter as its module stores it, and its logical shape where the two differ."""

from collections.abc import Hashable
from dataclasses import dataclass, field
from fractions import Fraction
from math import prod

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from .storage import PER_BYTE, get_storage_key, is_quantized, nbytes


@dataclass(frozen=True)
class Layout:
    """How the elements of a parameter are stored, if not one by one in this process.

    Args:
        code: "PACKED" (several elements in one integer), "SHARDED" (elements in several processes), or
            "UNKNOWN_LAYOUT" (integers that may hold several elements each).
        text: Description in words.
    """

    code: str
    text: str


@dataclass(frozen=True)
class Stored:
    """A parameter as one module stores it.

    Args:
        name: Name of the parameter in its module.
        tensor: The stored tensor, which may be packed or one shard.
        key: Identity of the parameter; two names with the same key are the same Parameter.
        shape: Logical shape; None while the parameter is lazy.
        storage: What an operator reads when it reads the parameter: the key of a storage or packed object.
            None if unknown.
        layout: How the elements are stored; None if one by one in this process.
    """

    name: str
    tensor: Tensor = field(repr=False)
    key: Hashable
    shape: tuple[int, ...] | None
    storage: Hashable | None
    layout: Layout | None = None

    @property
    def numel(self) -> int:
        """Number of logical elements, 0 while the parameter is lazy."""
        return 0 if self.shape is None else prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Size in bytes, including the shards of other processes."""
        if self.layout is not None and self.layout.code == "SHARDED":
            return self.numel * self.tensor.element_size()
        return nbytes(self.tensor)

    @property
    def has_own_storage(self) -> bool:
        """Whether the tensor's own storage holds all elements, so that other tensors may overlap with it."""
        return self.storage is not None and self.storage == get_storage_key(self.tensor)

    @property
    def is_quantized(self) -> bool:
        """Whether the elements are stored as integers."""
        return is_quantized(self.tensor) or (self.layout is not None and self.layout.code == "PACKED")


def store(name: str, tensor: Tensor, key: Hashable, layout: Layout | None = None) -> Stored:
    """Return a parameter whose logical shape is the shape of its tensor."""
    shape, storage = get_logical_shape(tensor), get_storage_key(tensor)
    return Stored(name, tensor, key, shape, storage, describe_dtype(tensor) if layout is None else layout)


def get_logical_shape(tensor: Tensor) -> tuple[int, ...] | None:
    """Return the shape as integers; None for a lazy tensor, and the number of elements for a nested one."""
    if is_lazy(tensor):
        return None
    if tensor.is_nested:
        return (int(tensor.numel()),)
    shape = tuple(map(int, tensor.shape))
    return (*shape[:-1], 2 * shape[-1]) if shape and tensor.dtype == torch.float4_e2m1fn_x2 else shape


def describe_bits(numel: int, tensor: Tensor) -> Layout | None:
    """Return the layout of `numel` logical elements in the integers of a tensor.

    None if each element has an integer of its own.

    >>> describe_bits(16, torch.zeros(8, dtype=torch.uint8)).text
    'logical weights of 4 bits, 2 per byte'
    >>> describe_bits(32, torch.zeros(3, dtype=torch.int32)).text
    'logical weights of 3 bits, 32 per 3 int32'
    """
    if numel == tensor.numel():
        return None
    bits = Fraction(8 * tensor.numel() * tensor.element_size(), numel)
    per = Fraction(numel, tensor.numel())
    unit = "byte" if tensor.element_size() == 1 else str(tensor.dtype).removeprefix("torch.")
    units = unit if per.denominator == 1 else f"{per.denominator} {unit}"
    size = "1 bit" if bits == 1 else f"{bits} bits"
    return Layout("PACKED", f"logical weights of {size}, {per.numerator} per {units}")


def describe_dtype(tensor: Tensor) -> Layout | None:
    """Return the layout of a tensor whose data type packs several elements into a byte; None for others."""
    per = PER_BYTE.get(tensor.dtype)
    return None if per is None else Layout("PACKED", f"logical weights of {8 // per} bits, {per} per byte")
