"""Find and replace the tensors in nested inputs and outputs of models."""

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor

from ._torch import tree_iter, tree_map


def iter_tensors(values: Any, *, dataclasses: bool = True) -> Iterator[Tensor]:
    """Yield every tensor in nested containers and dataclasses, in order.

    Args:
        dataclasses: Whether to search dataclasses, which torch's tree functions treat as leaves.
    """
    for leaf in tree_iter(values):
        if isinstance(leaf, Tensor):
            yield leaf
        elif dataclasses and is_dataclass(leaf) and not isinstance(leaf, type):
            yield from iter_tensors([getattr(leaf, field.name, None) for field in fields(leaf)])


def get_first_shape(values: Any) -> tuple[int, ...]:
    """Return the shape of the first tensor; () if there is none, or if it is a nested tensor."""
    return next((get_shape(tensor) for tensor in iter_tensors(values)), ())


def get_shape(tensor: Tensor) -> tuple[int, ...]:
    """Return the shape as integers; () for a nested tensor."""
    return () if tensor.is_nested else tuple(map(int, tensor.shape))


def map_tensors(function: Callable[[Tensor], Tensor], values: Any) -> Any:
    """Return the same containers with `function` applied to each tensor. Dataclasses are not searched."""
    return tree_map(lambda leaf: function(leaf) if isinstance(leaf, Tensor) else leaf, values)
