"""Find and replace tensors inside what models take and return: containers, and dataclasses at any depth."""

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor

from ._torch import tree_iter, tree_map


def tensors_in(values: Any, *, dataclasses: bool = True) -> Iterator[Tensor]:
    """Yield every tensor, in order.

    Args:
        dataclasses: Whether to look into dataclasses, which torch's tree functions treat as leaves.
    """
    for leaf in tree_iter(values):
        if isinstance(leaf, Tensor):
            yield leaf
        elif dataclasses and is_dataclass(leaf) and not isinstance(leaf, type):
            yield from tensors_in([getattr(leaf, field.name, None) for field in fields(leaf)])


def first_shape(values: Any) -> tuple[int, ...]:
    """Return the shape of the first tensor; () without a tensor, and for a nested tensor."""
    return next((shape_of(tensor) for tensor in tensors_in(values)), ())


def shape_of(tensor: Tensor) -> tuple[int, ...]:
    """Return the shape as integers; () for a nested tensor."""
    return () if tensor.is_nested else tuple(map(int, tensor.shape))


def map_tensors(function: Callable[[Tensor], Tensor], values: Any) -> Any:
    """Return the same containers with `function` applied to each tensor; dataclasses stay as they are."""
    return tree_map(lambda leaf: function(leaf) if isinstance(leaf, Tensor) else leaf, values)
