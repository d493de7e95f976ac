"""Tensors inside what models take and return: containers, and dataclasses at any depth."""

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map


def tensors_in(values: Any) -> Iterator[Tensor]:
    """Every tensor, in order."""
    for leaf in tree_leaves(values):
        if isinstance(leaf, Tensor):
            yield leaf
        elif is_dataclass(leaf) and not isinstance(leaf, type):
            yield from tensors_in([getattr(leaf, field.name, None) for field in fields(leaf)])


def first_shape(values: Any) -> tuple[int, ...]:
    """Of the first tensor; () if there is none, or it has no shape in numbers (nested tensors)."""
    return next((shape_of(tensor) for tensor in tensors_in(values)), ())


def shape_of(tensor: Tensor) -> tuple[int, ...]:
    """As integers; () of a nested tensor."""
    return () if tensor.is_nested else tuple(map(int, tensor.shape))


def mapped(function: Callable[[Tensor], Tensor], values: Any) -> Any:
    """The same containers with other tensors; dataclasses are left as they are."""
    return tree_map(lambda leaf: function(leaf) if isinstance(leaf, Tensor) else leaf, values)
