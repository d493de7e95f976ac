"""The parameters of a model in groups: every element has one owner, and any number of names besides."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from torch import Tensor
from torch.nn import Module
from torch.nn.parameter import is_lazy

from .modules import declared_name, joined, modules_of, parameters_of
from .storage import Ranges, is_quantised, length, nbytes, ranges_of, storage_of, union

#: The attribute under which a module keeps, by name, the parameters it reads from another (see `Reference`).
REFERENCES = "_tied_references"
#: The attribute under which a module keeps the ties declared in it, by their aliases as it has them.
DECLARED = "_declared_ties"


@dataclass(frozen=True)
class Reference:
    """Where a module reads a parameter that it does not have itself.

    Args:
        module: The module that has it.
        name: The parameter's name there.
        transform: What is done to it, as text; None where it is used as it is.
        shape: What comes out.
    """

    module: Module
    name: str
    transform: str | None = None
    shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class Name:
    """One place where a parameter is registered or read.

    Args:
        module_name: Of the module that has it, as in `model.named_modules()`.
        parameter: None for a reference.
        numel: Elements, 0 while it is lazy.
        kind: "owned", "alias" (the same Parameter), "view" (another Parameter on the same memory),
            "reference", "repeated" (the same module under another name), "lazy" or "quantised".
        own: Elements that no name before it has.
        transform: Of a reference.
    """

    name: str
    module_name: str
    module: Module = field(repr=False, compare=False)
    parameter: Tensor | None = field(repr=False, compare=False)
    numel: int
    kind: str
    own: int
    transform: str | None = None

    @property
    def attribute(self) -> str:
        """The parameter's name in its module."""
        return self.name.rpartition(".")[2]


@dataclass(frozen=True)
class Group:
    """Elements with one owner, the first of its names that is no alias by a declared tie."""

    names: tuple[Name, ...]

    @property
    def owner(self) -> Name:
        return self.names[0]

    @property
    def numel(self) -> int:
        """Distinct elements."""
        return sum(name.own for name in self.names)

    @property
    def bytes(self) -> int:
        """Of the distinct elements."""
        return sum(
            nbytes(name.parameter) * name.own // max(1, name.numel)
            for name in self.names
            if name.parameter is not None
        )

    @property
    def trainable(self) -> bool:
        return any(name.parameter is not None and name.parameter.requires_grad for name in self.names)


def groups_of(model: Module) -> tuple[Group, ...]:
    """All groups of a model, in the order in which their owners are registered."""
    found: list[list[Name]] = []
    group_of: dict[Hashable, list[Name]] = {}
    held: dict[Hashable, list[tuple[Ranges, list[Name]]]] = {}
    modules = list(modules_of(model))
    seen: set[tuple[int, str]] = set()
    for module_name, module, attribute, parameter, key in _sources_first(modules):
        lazy, again = is_lazy(parameter), (id(module), attribute) in seen
        seen.add((id(module), attribute))
        numel, full = 0 if lazy else parameter.numel(), joined(module_name, attribute)
        name = partial(Name, full, module_name, module, parameter, numel)
        if key in group_of:
            group_of[key].append(name("repeated" if again else "alias", 0))
            continue
        kind = "lazy" if lazy else "quantised" if is_quantised(parameter) else "owned"
        group_of[key] = _place(parameter, kind, name, found, held)
    for module_name, module in modules:
        for attribute, reference in vars(module).get(REFERENCES, {}).items():
            way = chain_of(reference)
            group = group_of.get(id(_source_of(way[-1])))
            if group is not None:
                full, numel = joined(module_name, attribute), group[0].numel
                done = " of ".join(step.transform for step in way if step.transform is not None) or None
                group.append(Name(full, module_name, module, None, numel, "reference", 0, done))
    return tuple(Group(tuple(names)) for names in found)


def chain_of(reference: Reference) -> list[Reference]:
    """A reference, and those that it reads through; the last reads a parameter."""
    chain = [reference]
    while (further := vars(chain[-1].module).get(REFERENCES, {}).get(chain[-1].name)) is not None:
        chain.append(further)
    return chain


def _sources_first(
    modules: Sequence[tuple[str, Module]],
) -> Iterator[tuple[str, Module, str, Tensor, Hashable]]:
    """Every parameter of every module, first those that are no aliases by a declared tie."""
    named = dict(modules)

    def place(name: str) -> tuple[int, str]:
        path, _, attribute = name.rpartition(".")
        return id(named.get(path)), attribute

    aliases = {
        place(joined(prefix, alias)) for prefix, holder in modules for alias in vars(holder).get(DECLARED, {})
    }

    def is_alias(item: tuple[str, Module, str, Tensor, Hashable]) -> bool:
        name = joined(item[0], item[2])
        return bool({place(name), place(declared_name(name))} & aliases)

    found = [
        (module_name, module, *parameter)
        for module_name, module in modules
        for parameter in parameters_of(module)
    ]
    yield from sorted(found, key=is_alias)


def _source_of(reference: Reference) -> Tensor | None:
    """The parameter that a reference reads; of a parametrized one that which it is mostly computed from."""
    own = reference.module._parameters.get(reference.name)
    if own is None and reference.name in getattr(reference.module, "parametrizations", {}):
        parts = reference.module.parametrizations[reference.name]._parameters.values()  # type: ignore[index]
        own = max(parts, key=Tensor.numel, default=None)
    if own is None:  # pruned, or normed as it was done before there were parametrizations
        names = (f"{reference.name}_orig", f"{reference.name}_v")
        own = next((p for n in names if (p := reference.module._parameters.get(n)) is not None), None)
    return own


def _place(
    parameter: Tensor,
    kind: str,
    name: Callable[[str, int], Name],
    found: list[list[Name]],
    held: dict[Hashable, list[tuple[Ranges, list[Name]]]],
) -> list[Name]:
    """Add a parameter met for the first time to the group whose memory it lies in, or to one of its own.

    Args:
        name: Makes its name, from its kind and the elements of its own.
        found: All groups.
        held: What lies in every storage.
    """
    storage, group = storage_of(parameter), None
    if storage is None:
        own = 0 if is_lazy(parameter) else parameter.numel()
    else:
        there, ranges = held.setdefault(storage, []), ranges_of(parameter)
        covered = ranges[:0]
        for others, names in there:
            near = others[0, 0] < ranges[-1, 1] and ranges[0, 0] < others[-1, 1]
            if near and length(union(others, ranges)) < length(others) + length(ranges):
                group = names if group is None else group
                covered = union(covered, others)
        own = (length(union(covered, ranges)) - length(covered)) // parameter.element_size()
    if group is None:
        found.append(group := [])
    group.append(name(kind if not group else "view", own))
    if storage is not None:
        there.append((ranges, group))
    return group
