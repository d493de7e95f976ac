"""Find and replace the tensors in nested inputs and outputs of models."""

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from types import EllipsisType, NoneType
from typing import Any

from torch import Size, Tensor, device, dtype

from ._torch import tree_iter, tree_map

#: Containers that are searched without torch's tree functions, which take longer.
_CONTAINERS = frozenset({tuple, list, dict})

#: Types of common values that contain no tensors.
_PLAIN = frozenset({bool, int, float, str, NoneType, EllipsisType, dtype, device, Size})


def iter_tensors(values: Any, *, dataclasses: bool = True) -> Iterator[Tensor]:
    """Yield every tensor in nested containers and dataclasses, in order.

    Args:
        dataclasses: Whether to search dataclasses, which torch's tree functions treat as leaves.
    """
    if isinstance(values, Tensor):
        yield values
        return
    kind = type(values)
    if kind in _CONTAINERS:
        for value in values.values() if kind is dict else values:
            yield from iter_tensors(value, dataclasses=dataclasses)
        return
    for leaf in () if kind in _PLAIN else tree_iter(values):
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


def map_leaves(function: Callable[[Any], Any], values: Any) -> Any:
    """Return the same containers with `function` applied to their leaves. Dataclasses are leaves."""
    kind = type(values)
    if kind is tuple or kind is list:
        return kind([map_leaves(function, value) for value in values])
    if kind is dict:
        return {name: map_leaves(function, value) for name, value in values.items()}
    is_leaf = kind in _PLAIN or isinstance(values, Tensor)
    return function(values) if is_leaf else tree_map(function, values)


def map_tensors(function: Callable[[Tensor], Tensor], values: Any) -> Any:
    """Return the same containers with `function` applied to each tensor. Dataclasses are not searched."""
    return map_leaves(lambda leaf: function(leaf) if isinstance(leaf, Tensor) else leaf, values)
