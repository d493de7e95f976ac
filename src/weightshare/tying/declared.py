"""Ties of a model: declared ones, kept as data on the nearest module that holds both ends, and built-in ones.

A declared tie survives wrapping, copying and pickling. Loading keeps it: a state dict with both ends must
agree on them, and `assign=True` does not part them. Layers made as references, as `TiedLinear`, have theirs.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor
from torch.nn import Module
from torch.nn.parameter import is_lazy

from ..errors import TieError
from ..parameters.groups import DECLARED, REFERENCES, Reference, chain_of
from .names import both_ends, place_of
from .reference import refer, reference_of, stop_referring
from .tie import Tie, transformed

#: While it loads: the aliases that a state dict has without their source.
_ALONE = "_aliases_alone"


def ties_of(model: Module) -> Iterator[tuple[str, Tie]]:
    """Every tie of a model, by the names that the model has them under."""
    named = list(model.named_modules())
    names, known = {id(module): name for name, module in named}, set()
    for prefix, module in named:
        for alias, tie in vars(module).get(DECLARED, {}).items():
            known.add(place_of(module, alias))
            yield _under(prefix, alias), Tie(_under(prefix, tie.source), tie.transform)
    for prefix, module in named:
        for attribute, reference in vars(module).get(REFERENCES, {}).items():
            alias, source = _under(prefix, attribute), names.get(id(reference.module))
            if (id(module), attribute) not in known and source is not None:
                yield alias, Tie(_under(source, reference.name), reference.transform)


def chain(ties: Mapping[str, Tie], name: str) -> list[str]:
    """From a name to the parameter that it leads to, itself where it is no alias."""
    names = [name]
    while names[-1] in ties:
        names.append(ties[names[-1]].source)
    return names


def declare(holder: Module, alias: str, tie: Tie) -> None:
    """Keep a tie on the module that holds both ends."""
    held = vars(holder).get(DECLARED)
    if held is None:
        holder.register_load_state_dict_pre_hook(_before_loading)
        holder.register_load_state_dict_post_hook(_after_loading)
    setattr(holder, DECLARED, {**(held or {}), alias: tie})  # not in place: a shallow copy has the same dict


def forget(model: Module, name: str) -> None:
    """Drop the tie that an alias was declared by."""
    for prefix, module in model.named_modules():
        held = vars(module).get(DECLARED, {})
        kept = {alias: tie for alias, tie in held.items() if _under(prefix, alias) != name}
        if len(kept) < len(held):
            setattr(module, DECLARED, kept)


def establish(holder: Module, alias: str, tie: Tie) -> None:
    """Make a tie hold where both ends are there and fit: one Parameter, or a reference to the source."""
    ends = both_ends(holder, alias, tie.source)
    if ends is None:
        return
    (module, attribute), (source, source_attribute) = ends
    own, value = getattr(module, attribute), getattr(source, source_attribute)
    if is_lazy(own) or is_lazy(value) or shape_after(tie.transform, value, own) != own.shape:
        return
    way = chain_of(Reference(source, source_attribute))
    if any(step.module is module and step.name == attribute for step in way):
        return  # modules put in other places have closed a circle
    if tie.transform is not None or len(way) > 1:
        refer(module, attribute, source, source_attribute, tie.transform)
        return
    if reference_of(module, attribute) is not None:
        stop_referring(module, attribute)
    module._parameters[attribute] = source._parameters[source_attribute]


def shape_after(transform: str | None, source: Tensor, alias: Tensor) -> Any:
    """The shape that an alias would read; None where the transform cannot be done."""
    try:
        return transformed(transform, source.detach().to("meta"), alias.shape).shape
    except (RuntimeError, IndexError):
        return None


def agree(first: Tensor, second: Tensor) -> bool:
    """Whether two ends of a tie have the same numbers; not numbers count as such, unknown ones as equal."""
    if first is second:
        return True
    if first.shape != second.shape:
        return False
    return (
        first.is_meta
        or second.is_meta
        or bool(((first == second) | ((first != first) & (second != second))).all())
    )


def disagreement(alias: str, source: str) -> TieError:
    """The error of a state dict whose ends differ."""
    return TieError(
        "load_state_dict",
        f"{alias} and {source} must agree, since they are tied",
        "two that differ",
        "choose by weightshare.tying.load_state_dict(model, state, on_conflict='source' or 'alias' or "
        "'mean'), or untie_weights first",
    )


def _before_loading(module: Module, state: dict, prefix: str, *_: Any) -> None:
    """Refuse ends that differ; an entry for a reference, as of an untied model, becomes its source's.

    Where an end is no parameter any more (parametrized, pruned) nothing is done.
    """
    vars(module).pop(_ALONE, None)  # left by a loading that failed
    for alias, tie in reversed(vars(module).get(DECLARED, {}).items()):  # a chain from its far end
        ends = both_ends(module, alias, tie.source)
        ours, theirs = prefix + alias, prefix + tie.source
        if ends is None or ours not in state:
            continue
        (owner, attribute), (source, source_attribute) = ends
        if theirs not in state and reference_of(owner, attribute) is None:
            vars(module).setdefault(_ALONE, set()).add(alias)
        if shape_after(tie.transform, state[ours], getattr(source, source_attribute)) is None:
            continue  # torch says what is wrong with its shape
        value = transformed(tie.transform, state[ours], getattr(source, source_attribute).shape)
        if theirs in state and not agree(value, state[theirs]):
            raise disagreement(ours, theirs)
        if reference_of(owner, attribute) is not None:
            del state[ours]
            state.setdefault(theirs, value)


def _after_loading(module: Module, incompatible: Any) -> None:
    """Loading by assignment gives both ends a Parameter of their own."""
    alone = vars(module).pop(_ALONE, set())
    for alias, tie in vars(module).get(DECLARED, {}).items():
        ends = both_ends(module, alias, tie.source)
        if ends is None or reference_of(*ends[0]) is not None:
            continue
        (owner, attribute), (source, source_attribute) = ends
        if alias in alone:  # its value is the one that was loaded
            source._parameters[source_attribute] = owner._parameters[attribute]
        else:
            establish(module, alias, tie)


def _under(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name
