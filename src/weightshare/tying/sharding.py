"""`fsdp_groups`: find the modules that FSDP2's `fully_shard` must shard together."""

from typing import Any

from torch import nn

from .._torch import get_fsdp_state, reshards_after_forward
from ..parameters.groups import group_parameters
from ..parameters.modules import check_module, iter_modules
from ..parameters.references import get_reference
from .names import find_module


def fsdp_groups(model: nn.Module) -> list[list[nn.Module]]:
    """Return the sets of modules that share weights and must therefore be sharded together.

    Call `fully_shard(group)` for each set, then `fully_shard` for the blocks without shared weights, then for
    the model, which is never in a set itself.

    Raises:
        ArgumentError: If `model` is not a module.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Embedding(10, 4), torch.nn.Linear(4, 10, bias=False))
        >>> model[1].weight = model[0].weight
        >>> fsdp_groups(model)
        [[Embedding(10, 4), Linear(in_features=4, out_features=10, bias=False)]]
    """
    check_module("fsdp_groups", model)
    sets: list[dict[int, nn.Module]] = []
    for group in group_parameters(iter_modules(model)):
        together = {id(name.module): name.module for name in group.names if name.module is not model}
        if len(together) < 2:
            continue
        separate: list[dict[int, nn.Module]] = []
        for other in sets:
            if together.keys() & other.keys():
                together = other | together
            else:
                separate.append(other)
        sets = [*separate, together]
    return [list(modules.values()) for modules in sets]


def is_split(model: nn.Module, alias: str, source: str) -> bool:
    """Return whether an alias may run while the FSDP2 group of its source has freed its full weights."""
    alias_states, source_states = _get_fsdp_states(model, alias), _get_fsdp_states(model, source)
    path, _, attribute = alias.rpartition(".")
    module = find_module(model, path)
    if module is not None and get_reference(module, attribute) is not None:
        if not source_states or source_states[-1] in alias_states:
            return False
        return reshards_after_forward(source_states[-1])
    return alias_states[-1:] != source_states[-1:]


def _get_fsdp_states(model: nn.Module, name: str) -> list[Any]:
    """Return the states of the FSDP2 groups that are gathered while a parameter's module runs.

    The innermost group is last.
    """
    path = name.split(".")[:-1]
    modules: Any = [find_module(model, ".".join(path[:end])) for end in range(len(path) + 1)]
    return [state for module in modules if (state := get_fsdp_state(module)) is not None]
