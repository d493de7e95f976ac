"""The ties of a model, declared and built-in.

A declared tie is recorded on the nearest module that contains both ends. It survives wrapping, copying,
pickling and loading. Built-in ties are those of layers made as references, such as `TiedLinear`.
"""

from collections.abc import Iterator, Mapping

from torch import nn

from ..parameters.modules import join_names
from ..parameters.references import DECLARED, get_declared_ties, get_references
from .loading import keep_ties_when_loading
from .names import Place, get_place
from .tie import Tie


def iter_ties(model: nn.Module) -> Iterator[tuple[str, Tie]]:
    """Yield the alias and the tie for every tie of a model, declared or built-in, under their full names."""
    named = list(model.named_modules())
    names = {id(module): name for name, module in named}
    known: set[Place] = set()
    for prefix, module in named:
        for alias, tie in get_declared_ties(module).items():
            known.add(get_place(module, alias))
            yield join_names(prefix, alias), Tie(join_names(prefix, tie.source), tie.transform)
    for prefix, module in named:
        for attribute, reference in get_references(module).items():
            source = names.get(id(reference.module))
            if (id(module), attribute) not in known and source is not None:
                source_name = join_names(source, reference.name)
                yield join_names(prefix, attribute), Tie(source_name, reference.transform)


def trace_to_source(ties: Mapping[str, Tie], name: str) -> list[str]:
    """Return the names from an alias to the parameter at the end of its ties.

    A name that is not an alias is returned alone.
    """
    names = [name]
    while names[-1] in ties:
        names.append(ties[names[-1]].source)
    return names


def record_tie(holder: nn.Module, alias: str, tie: Tie) -> None:
    """Record a tie on the module that contains both ends; names are relative to that module."""
    recorded = get_declared_ties(holder)
    if DECLARED not in vars(holder):
        keep_ties_when_loading(holder)
    # a new dictionary, because a shallow copy of the module shares the current one
    setattr(holder, DECLARED, {**recorded, alias: tie})


def forget_tie(model: nn.Module, name: str) -> None:
    """Remove the declared tie of an alias, wherever it is recorded."""
    for prefix, module in model.named_modules():
        recorded = get_declared_ties(module)
        remaining = {alias: tie for alias, tie in recorded.items() if join_names(prefix, alias) != name}
        if len(remaining) < len(recorded):
            setattr(module, DECLARED, remaining)
