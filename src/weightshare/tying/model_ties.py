"""The ties of a model, declared and built-in.

A declared tie is recorded on the nearest module that contains both ends. It survives wrapping, copying,
pickling and loading, and it follows its modules if they are renamed or moved inside the model. Built-in ties
are those of layers made as references, such as `TiedLinear`.
"""

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass

from torch import nn

from ..parameters.modules import join_names
from ..parameters.references import (
    DECLARED,
    DeclaredTie,
    ModuleLink,
    ModuleNames,
    find_module,
    get_records,
    get_references,
)
from .loading import keep_ties_when_loading
from .names import get_common_path, get_place, make_relative
from .tie import Tie


@dataclass(frozen=True)
class Link:
    """A tie of a model under its current full names.

    Args:
        alias: Name of the alias.
        tie: The tie, with the name of its source.
        is_known: Whether both names are known to be those of the tied modules. If not, one of the modules was
            removed or replaced.
    """

    alias: str
    tie: Tie
    is_known: bool = True


def get_links(model: nn.Module) -> dict[str, Link]:
    """Return all ties of a model, declared or built-in, by alias.

    A tie that lost its alias is left out if another tie now has its name.
    """
    links: dict[str, Link] = {}
    for _, link in _iter_declared(model):
        if link.alias not in links or not links[link.alias].is_known:
            links[link.alias] = link
    declared = {get_place(model, alias) for alias in links}
    for link in _iter_built_in(model):
        if get_place(model, link.alias) not in declared:
            links[link.alias] = link
    return links


def iter_ties(model: nn.Module) -> Iterator[tuple[str, Tie]]:
    """Yield the alias and the tie for every tie of a model whose ends are both known."""
    for link in get_links(model).values():
        if link.is_known:
            yield link.alias, link.tie


def trace_to_source(ties: Mapping[str, Tie], name: str) -> list[str]:
    """Return the names from an alias to the parameter at the end of its ties.

    A name that is not an alias is returned alone.
    """
    names = [name]
    while names[-1] in ties:
        names.append(ties[names[-1]].source)
    return names


def record_ties(model: nn.Module, ties: Mapping[str, Tie]) -> None:
    """Record each tie on the nearest module that contains both ends.

    Lists and dictionaries of modules do not record ties, because they are often built again.
    """
    records: dict[str, list[DeclaredTie]] = {}
    for alias, tie in ties.items():
        path = get_common_path(alias, tie.source)
        while path and isinstance(find_module(model, path), nn.ModuleList | nn.ModuleDict):
            path = path.rpartition(".")[0]
        names = make_relative(alias, path), make_relative(tie.source, path)
        record = make_record(model.get_submodule(path), *names, tie.transform)
        records.setdefault(path, []).append(record)
    for path, added in records.items():
        holder = model.get_submodule(path)
        if DECLARED not in vars(holder):
            keep_ties_when_loading(holder)
        set_records(holder, [*get_records(holder), *added])


def make_record(holder: nn.Module, alias: str, source: str, transform: str | None) -> DeclaredTie:
    """Return the record of a tie between two parameters of a module."""
    alias_module, source_module = (
        ModuleLink(find_module(holder, name.rpartition(".")[0])) for name in (alias, source)
    )
    return DeclaredTie(alias, source, transform, (alias_module, source_module))


def set_records(holder: nn.Module, records: Iterable[DeclaredTie]) -> None:
    """Set the ties that a module records; a tuple, because a shallow copy of the module shares it."""
    setattr(holder, DECLARED, tuple(records))


def forget_ties(model: nn.Module, aliases: Container[str]) -> None:
    """Remove all records of the ties of some aliases."""
    removed = {id(record) for record, link in _iter_declared(model) if link.alias in aliases}
    for holder in model.modules():
        if records := get_records(holder):
            set_records(holder, [record for record in records if id(record) not in removed])


def _iter_declared(model: nn.Module) -> Iterator[tuple[DeclaredTie, Link]]:
    """Yield the record of each declared tie, and the tie under its current names."""
    names = ModuleNames(model)
    for prefix, holder in model.named_modules():
        for record in get_records(holder):
            tie, is_known = record.locate(names, prefix)
            yield record, Link(tie.alias, Tie(tie.source, tie.transform), is_known)


def _iter_built_in(model: nn.Module) -> Iterator[Link]:
    """Yield a tie for each reference to a parameter of the model."""
    names = {id(module): name for name, module in model.named_modules()}
    for prefix, module in model.named_modules():
        for attribute, reference in get_references(module).items():
            source = names.get(id(reference.module))
            if source is not None:
                tie = Tie(join_names(source, reference.name), reference.transform)
                yield Link(join_names(prefix, attribute), tie)
