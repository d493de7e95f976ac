"""Entries of a state dict that share elements: the same tensor under two names, and views of one tensor."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module
from torch.nn.parameter import is_lazy

from ...parameters.modules import get_original_name
from ...parameters.storage import count_bytes, get_byte_ranges, get_storage_key
from ..model_ties import iter_ties
from ..names import get_place


@dataclass(frozen=True)
class Layout:
    """The elements of a contiguous tensor that a view has.

    Args:
        shape: Shape of the view.
        strides: Strides along each axis, in elements of the tensor.
        offset: First element.
    """

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int

    def read(self, tensor: Tensor) -> Tensor:
        """Return the view of a contiguous tensor, which must have a storage of its own.

        Raises:
            RuntimeError: If the tensor has too few elements.
        """
        return tensor.as_strided(self.shape, self.strides, self.offset)


@dataclass(frozen=True)
class SharedEntry:
    """An entry of a state dict and all other entries that have no elements of their own.

    Args:
        source: Name of the entry that has all elements. If several do, it is the first one that is not the
            alias of a declared tie.
        shape: Its shape.
        aliases: Names of entries with the same elements in the same layout.
        views: Layouts of entries with a part of the elements, or with another shape.
    """

    source: str
    shape: torch.Size
    aliases: tuple[str, ...]
    views: Mapping[str, Layout]


def share_entries(model: Module, state: Mapping[str, Any]) -> list[SharedEntry]:
    """Return the entries of a state dict that must be stored, each with those that need not be.

    Args:
        state: `model.state_dict(keep_vars=True)`.
    """
    aliases = {get_place(model, alias) for alias, _ in iter_ties(model)}

    def is_alias(name: str) -> bool:
        return bool({get_place(model, name), get_place(model, get_original_name(name))} & aliases)

    entries = {
        name: value for name, value in state.items() if isinstance(value, Tensor) and not is_lazy(value)
    }
    by_layout: dict[Hashable, dict[str, Tensor]] = {}
    for name in sorted(entries, key=is_alias):
        by_layout.setdefault(_get_layout_key(entries[name]), {})[name] = entries[name]
    by_storage: dict[Hashable, list[dict[str, Tensor]]] = {}
    for names in by_layout.values():
        first = next(iter(names.values()))
        by_storage.setdefault(_get_storage(first) or id(first), []).append(names)
    order = {name: number for number, name in enumerate(entries)}
    shared = [entry for group in by_storage.values() for entry in _find_sources(group)]
    return sorted(shared, key=lambda entry: order[entry.source])


def _get_layout_key(tensor: Tensor) -> Hashable:
    """Return a key that two live tensors have in common if they are the same elements in the same order."""
    storage = _get_storage(tensor)
    if storage is None:
        return id(tensor)
    return storage, tensor.dtype, tensor.shape, tensor.stride(), tensor.storage_offset()


def _get_storage(tensor: Tensor) -> Hashable | None:
    """Return the key of the storage that has a tensor's values, or None if they are only computed from it."""
    return None if tensor.is_conj() or tensor.is_neg() else get_storage_key(tensor)


def _find_sources(group: Sequence[Mapping[str, Tensor]]) -> Iterator[SharedEntry]:
    """Yield the entries that must be stored, of all that use the same storage.

    Args:
        group: The names and the tensor of each layout.
    """
    tensors = [next(iter(names.values())) for names in group]
    spans = [_get_span(tensor) if len(group) > 1 else (0, 0, 0) for tensor in tensors]
    views: dict[int, dict[str, Layout]] = {}
    # the largest first, and of those with the same elements, a contiguous one
    for k in sorted(range(len(group)), key=lambda k: (-spans[k][2], not tensors[k].is_contiguous())):
        for whole, inside in views.items():
            if (
                spans[whole][0] <= spans[k][0]
                and spans[k][1] <= spans[whole][1]
                and tensors[whole].is_contiguous()
                and tensors[whole].dtype == tensors[k].dtype
            ):
                inside |= dict.fromkeys(group[k], _get_layout(tensors[whole], tensors[k]))
                break
        else:
            views[k] = {}
    for k, inside in views.items():
        source, *aliases = group[k]
        yield SharedEntry(source, tensors[k].shape, tuple(aliases), inside)


def _get_span(tensor: Tensor) -> tuple[int, int, int]:
    """Return the first byte of a tensor in its storage, the end of its last byte, and its size in bytes."""
    ranges = get_byte_ranges(tensor)
    return int(ranges[0, 0]), int(ranges[-1, 1]), count_bytes(ranges)


def _get_layout(whole: Tensor, view: Tensor) -> Layout:
    offset = int(view.storage_offset() - whole.storage_offset())
    return Layout(tuple(view.shape), tuple(view.stride()), offset)
