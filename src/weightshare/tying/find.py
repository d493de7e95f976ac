"""`find_tied_weights`: which parameters share their elements, declared or not."""

from dataclasses import dataclass

import torch
from torch.nn import Module

from ..parameters.groups import Group, groups_of

#: The kinds of names in the ledger, as kinds of ties.
KINDS = {"repeated": "same_module", "alias": "same_parameter", "view": "view", "reference": "reference"}


@dataclass(frozen=True)
class TieGroup:
    """Parameters that share elements.

    Args:
        kind: "same_module", "same_parameter", "view", "reference", or "equal_values": no tie, but as large
            and with the same numbers.
        source: The name that has the elements: the first that is no alias by a declared tie.
        alias: The name that shares them.
        transform: Of a reference.
    """

    kind: str
    source: str
    alias: str
    transform: str | None = None


def find_tied_weights(model: Module, equal_values: bool = False) -> list[TieGroup]:
    """Every name that shares elements with their owner.

    Args:
        equal_values: Also pairs of separate parameters with the same numbers, which may have been tied once.

    Example:
        >>> model = torch.nn.Sequential(torch.nn.Embedding(10, 4), torch.nn.Linear(4, 10, bias=False))
        >>> model[1].weight = model[0].weight
        >>> find_tied_weights(model)
        [TieGroup(kind='same_parameter', source='0.weight', alias='1.weight', transform=None)]
    """
    groups = groups_of(model)
    found = [
        TieGroup(KINDS[name.kind], group.owner.name, name.name, name.transform)
        for group in groups
        for name in group.names[1:]
    ]
    return found + (_equal(groups) if equal_values else [])


def _equal(groups: tuple[Group, ...]) -> list[TieGroup]:
    """Owners of the same shape and numbers; not those of one number only, such as zeros and ones."""
    found, seen = [], {}
    for group in groups:
        value = group.owner.parameter
        if value is None or group.owner.kind == "lazy" or value.is_meta or value.numel() == 0:
            continue
        if bool((value == value.flatten()[0]).all()):
            continue
        for other in seen.setdefault((value.shape, value.dtype, value.device), []):
            if torch.equal(other.parameter, value):
                found.append(TieGroup("equal_values", other.name, group.owner.name))
                break
        else:
            seen[value.shape, value.dtype, value.device].append(group.owner)
    return found
