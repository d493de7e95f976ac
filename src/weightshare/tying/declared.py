"""Declared ties: kept as data on the nearest module that holds both ends, so that they survive wrapping.

Loading keeps them: a state dict with both ends must agree on them, and `assign=True` does not part them.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch.nn import Module

from ..errors import TieError
from .names import both_ends
from .reference import reference_of
from .tie import Tie, transformed, undone

#: The attribute under which a module keeps its ties, {alias: Tie}, by names as it has them.
DECLARED = "_declared_ties"


def ties_of(model: Module) -> Iterator[tuple[str, Tie]]:
    """Every declared tie of a model, by the names that the model has them under."""
    for prefix, module in model.named_modules():
        for alias, tie in vars(module).get(DECLARED, {}).items():
            yield _under(prefix, alias), Tie(_under(prefix, tie.source), tie.transform)


def declare(holder: Module, alias: str, tie: Tie) -> None:
    """Keep a tie on the module that holds both ends."""
    held = vars(holder).get(DECLARED)
    if held is None:
        held = {}
        setattr(holder, DECLARED, held)
        holder.register_load_state_dict_pre_hook(_before_loading)
        holder.register_load_state_dict_post_hook(_after_loading)
    held[alias] = tie


def forget(model: Module, name: str) -> None:
    """Drop the tie that an alias was declared by."""
    for prefix, module in model.named_modules():
        for alias in list(vars(module).get(DECLARED, {})):
            if _under(prefix, alias) == name:
                del vars(module)[DECLARED][alias]


def establish(holder: Module, alias: str, tie: Tie) -> None:
    """Make the alias the source's own Parameter again, where both are there; a reference needs nothing."""
    ends = both_ends(holder, alias, tie.source)
    if ends is None or reference_of(*ends[0]) is not None:
        return
    (module, attribute), (source, source_attribute) = ends
    module._parameters[attribute] = source._parameters[source_attribute]


def _before_loading(module: Module, state: dict, prefix: str, *_: Any) -> None:
    for alias, tie in vars(module).get(DECLARED, {}).items():
        agree(module, state, prefix, alias, tie)


def agree(holder: Module, state: dict, prefix: str, alias: str, tie: Tie) -> None:
    """Check that both ends of a tie agree in a state dict; an entry for a reference becomes its source's.

    Where an end is no parameter any more (parametrized, pruned) nothing is done.

    Raises:
        TieError: both ends are there, and differ.
    """
    ours, theirs = prefix + alias, prefix + tie.source
    ends = both_ends(holder, alias, tie.source)
    if ends is None:
        return
    (module, attribute), (source, source_attribute) = ends
    shape, source_shape = getattr(module, attribute).shape, getattr(source, source_attribute).shape
    if ours in state and theirs in state:
        expected = transformed(tie.transform, state[theirs], shape)
        if expected.shape != state[ours].shape or not torch.equal(expected, state[ours]):
            raise TieError(
                "load_state_dict",
                f"{ours} and {theirs} must agree, since they are tied",
                "two that differ",
                "choose by weightshare.tying.load_state_dict(model, state, on_conflict='source' or 'alias' "
                "or 'mean'), or untie_weights first",
            )
    if reference_of(module, attribute) is not None and ours in state:  # of a model that was not tied
        value = state.pop(ours)
        state.setdefault(theirs, undone(tie.transform, value, source_shape))


def _after_loading(module: Module, incompatible: Any) -> None:
    """Loading by assignment gives both ends a Parameter of their own."""
    for alias, tie in vars(module).get(DECLARED, {}).items():
        establish(module, alias, tie)


def _under(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name
