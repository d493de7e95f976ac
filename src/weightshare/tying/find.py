"""`find_tied_weights`: find parameters that share elements, whether or not the tie was declared."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import Module

from ..parameters.groups import Group, Name, group_parameters
from ..parameters.modules import check_module, iter_modules

#: Kinds of ties, by the kind of the alias's name.
KINDS = {"repeated": "same_module", "alias": "same_parameter", "view": "view", "reference": "reference"}


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
            before.

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


def _find_equal_values(groups: tuple[Group, ...]) -> list[TieGroup]:
    """Find owners with the same shape and values; constant tensors such as zeros and ones are left out."""
    found: list[TieGroup] = []
    seen: dict[tuple[torch.Size, torch.dtype, torch.device], list[tuple[Name, Tensor]]] = {}
    for group in groups:
        value = group.owner.parameter
        if value is None or group.owner.kind == "lazy" or value.is_meta or value.numel() == 0:
            continue
        if bool((value == value.flatten()[0]).all()):
            continue
        candidates = seen.setdefault((value.shape, value.dtype, value.device), [])
        equal = next((name for name, other in candidates if torch.equal(other, value)), None)
        if equal is None:
            candidates.append((group.owner, value))
        else:
            found.append(TieGroup("equal_values", equal.name, group.owner.name))
    return found
