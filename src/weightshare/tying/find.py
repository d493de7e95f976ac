"""`find_tied_weights`: find parameters that share elements, whether or not the tie was declared."""

import hashlib
from collections.abc import Hashable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import Module

from ..parameters.groups import Group, group_parameters
from ..parameters.modules import check_module, iter_modules
from ..parameters.storage import is_plain

#: Kinds of ties, by the kind of the alias's name.
KINDS = {"repeated": "same_module", "alias": "same_parameter", "view": "view", "reference": "reference"}

#: About as many elements of each parameter are compared first.
_SAMPLE = 64


@dataclass(frozen=True)
class TieGroup:
    """Two names of shared elements.

    Args:
        kind: "same_module" (one module under two names), "same_parameter", "view", "reference" or
            "equal_values" (not a tie, but separate parameters with the same shape and values).
        source: Name that owns the elements: the first one that is not the alias of a declared tie.
        alias: Name that shares them.
        transform: Transform of a reference.
    """

    kind: str
    source: str
    alias: str
    transform: str | None = None


def find_tied_weights(model: Module, equal_values: bool = False) -> list[TieGroup]:
    """Find every name that shares elements with an owner.

    Args:
        equal_values: Whether to list separate parameters with the same values too. They may have been tied
            before. Meta tensors, empty and constant ones are left out. The time is linear in the number of
            elements.

    Raises:
        ArgumentError: If `model` is not a module.

    Example:
        >>> model = torch.nn.Sequential(torch.nn.Embedding(10, 4), torch.nn.Linear(4, 10, bias=False))
        >>> model[1].weight = model[0].weight
        >>> find_tied_weights(model)
        [TieGroup(kind='same_parameter', source='0.weight', alias='1.weight', transform=None)]
    """
    check_module("find_tied_weights", model)
    groups = group_parameters(iter_modules(model))
    found = [
        TieGroup(KINDS[name.kind], group.owner.name, name.name, name.transform)
        for group in groups
        for name in group.names[1:]
    ]
    return found + (_find_equal_values(groups) if equal_values else [])


def _find_equal_values(groups: Iterable[Group]) -> list[TieGroup]:
    """Find owners whose elements are equal bit by bit; constant tensors such as zeros and ones are left out.

    Each parameter is sampled. Only those with equal samples are read as a whole, once.
    """
    sampled: dict[Hashable, list[tuple[str, Tensor]]] = {}
    for group in groups:
        value = group.owner.parameter
        if value is None or not is_plain(value) or value.is_meta or value.numel() == 0:
            continue
        elements = value.detach().resolve_conj().resolve_neg().flatten()
        step = max(1, len(elements) // _SAMPLE)
        key = (value.shape, value.dtype, value.device, _hash(elements[::step]))
        sampled.setdefault(key, []).append((group.owner.name, elements))
    found: list[TieGroup] = []
    for candidates in sampled.values():
        first_with: dict[bytes, str] = {}
        for name, elements in candidates if len(candidates) > 1 else ():
            if _is_constant(elements):
                continue
            if (first := first_with.setdefault(_hash(elements), name)) != name:
                found.append(TieGroup("equal_values", first, name))
    return found


def _hash(elements: Tensor) -> bytes:
    """Return a hash of the bytes of a one-dimensional tensor."""
    data = elements.contiguous().view(torch.uint8).cpu().numpy()
    return hashlib.blake2b(data.data, digest_size=32).digest()


def _is_constant(elements: Tensor) -> bool:
    """Return whether all elements of a one-dimensional tensor have the same bytes."""
    rows = elements.contiguous().view(torch.uint8).view(len(elements), -1)
    return bool((rows == rows[0]).all())
