"""`fsdp_groups`: which modules `fully_shard` must take together."""

from typing import Any

from torch.nn import Module

from .._torch import fsdp_state, reshards_after_forward
from ..parameters.groups import groups_of
from .names import module_at
from .reference import reference_of


def fsdp_groups(model: Module) -> list[list[Module]]:
    """The modules that share a weight, a list for each set that must be sharded as one.

    Call `fully_shard(group)` for each list, then for the blocks without shared weights, then for the model,
    which is in no list itself.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Embedding(10, 4), torch.nn.Linear(4, 10, bias=False))
        >>> model[1].weight = model[0].weight
        >>> fsdp_groups(model)
        [[Embedding(10, 4), Linear(in_features=4, out_features=10, bias=False)]]
    """
    sets: list[dict[int, Module]] = []
    for group in groups_of(model):
        together = {id(name.module): name.module for name in group.names if name.module is not model}
        if len(together) < 2:
            continue
        apart = []
        for other in sets:
            if together.keys() & other.keys():
                together = other | together
            else:
                apart.append(other)
        sets = [*apart, together]
    return [list(found.values()) for found in sets]


def is_split(model: Module, alias: str, source: str) -> bool:
    """Whether an alias runs while the FSDP2 group of its source may have let go of it."""
    around, having = _groups_around(model, alias), _groups_around(model, source)
    module = module_at(model, alias.rpartition(".")[0])
    if module is not None and reference_of(module, alias.rpartition(".")[2]) is not None:
        return bool(having) and having[-1] not in around and not _stays_whole(having[-1])
    return around[-1:] != having[-1:]


def _stays_whole(group: Any) -> bool:
    """Whether a group keeps its weights after its forward pass, by `reshard_after_forward=False`."""
    return not reshards_after_forward(group)


def _groups_around(model: Module, name: str) -> list[Any]:
    """The FSDP2 groups whose weights are whole while the module of a parameter runs, the innermost last."""
    path = name.split(".")[:-1]
    modules: Any = [module_at(model, ".".join(path[:end])) for end in range(len(path) + 1)]
    return [state for module in modules if (state := fsdp_state(module)) is not None]
