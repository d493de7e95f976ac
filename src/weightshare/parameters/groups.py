"""The parameters of a model in groups: each element has one owner, and may have any number of other names."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field

from torch import Tensor
from torch.nn import Module

from .modules import get_original_name, iter_parameters, join_names
from .references import Reference, get_chain, get_declared_ties, get_references
from .sharded import find_shards
from .storage import Ranges, count_bytes, get_byte_ranges, merge
from .stored import Stored


@dataclass(frozen=True)
class Name:
    """One name under which a parameter is registered or read.

    Args:
        name: Full name, as in `model.named_parameters()`.
        module_name: Name of its module, as in `model.named_modules()`.
        stored: The parameter as its module stores it; None for a reference.
        numel: Number of logical elements, 0 while the parameter is lazy.
        kind: "owned", "alias" (the same Parameter), "view" (another Parameter in the same storage),
            "reference", "repeated" (the same module under another name), "lazy" or "quantized".
        own: Number of elements that no earlier name has.
        transform: Transform of a reference.
    """

    name: str
    module_name: str
    module: Module = field(repr=False, compare=False)
    stored: Stored | None = field(repr=False, compare=False)
    numel: int
    kind: str
    own: int
    transform: str | None = None

    @property
    def attribute(self) -> str:
        """Name of the parameter in its module."""
        return self.name.rpartition(".")[2]

    @property
    def parameter(self) -> Tensor | None:
        """The stored tensor, which may be packed or one shard; None for a reference."""
        return None if self.stored is None else self.stored.tensor


@dataclass(frozen=True)
class Group:
    """A set of elements with one owner, and all names that share them.

    The owner is the first name that is not the alias of a declared tie.
    """

    names: tuple[Name, ...]

    @property
    def owner(self) -> Name:
        """Name under which the elements are counted."""
        return self.names[0]

    @property
    def numel(self) -> int:
        """Number of distinct elements."""
        return sum(name.own for name in self.names)

    @property
    def bytes(self) -> int:
        """Size of the distinct elements in bytes."""
        return sum(
            name.stored.nbytes * name.own // max(1, name.numel)
            for name in self.names
            if name.stored is not None
        )

    @property
    def trainable(self) -> bool:
        """Whether any of the parameters requires gradients."""
        return any(name.parameter is not None and name.parameter.requires_grad for name in self.names)


@dataclass(frozen=True)
class _Registered:
    """A parameter under one name of its module."""

    module_name: str
    module: Module
    stored: Stored

    @property
    def name(self) -> str:
        return join_names(self.module_name, self.stored.name)


def group_parameters(modules: Iterable[tuple[str, Module]]) -> tuple[Group, ...]:
    """Return all groups, in the order in which their owners are registered.

    Args:
        modules: Every module under each of its names, as `iter_modules(model)` yields them.
    """
    modules, builder = list(modules), _Builder()
    for registered in _sort_sources_first(modules):
        builder.add(registered)
    for module_name, module in modules:
        for attribute, reference in get_references(module).items():
            builder.add_reference(module_name, module, attribute, reference)
    return tuple(Group(tuple(names)) for names in builder.groups)


class _Builder:
    """Groups under construction, each one a list of names."""

    def __init__(self) -> None:
        self.groups: list[list[Name]] = []
        self._by_key: dict[Hashable, list[Name]] = {}
        self._by_storage: dict[Hashable, list[tuple[Ranges, list[Name]]]] = {}
        self._seen: set[tuple[int, str]] = set()

    def add(self, registered: _Registered) -> None:
        """Add a registered parameter to the group that has its elements, or to a new group."""
        place, key = (id(registered.module), registered.stored.name), registered.stored.key
        again = place in self._seen
        self._seen.add(place)
        if key in self._by_key:
            self._append(self._by_key[key], registered, "repeated" if again else "alias", 0)
        else:
            self._by_key[key] = self._add_new(registered)

    def add_reference(self, module_name: str, module: Module, attribute: str, reference: Reference) -> None:
        """Add a reference to the group of the parameter that it reads, if the model has that parameter."""
        chain = get_chain(reference)
        group = self._by_key.get(id(_find_source(chain[-1])))
        if group is not None:
            name, numel = join_names(module_name, attribute), group[0].numel
            transform = " of ".join(step.transform for step in chain if step.transform is not None) or None
            group.append(Name(name, module_name, module, None, numel, "reference", 0, transform))

    def _add_new(self, registered: _Registered) -> list[Name]:
        """Add a parameter that was not seen before, and return its group."""
        stored, ranges, group = registered.stored, None, None
        own = stored.numel
        if stored.has_own_storage:
            ranges = get_byte_ranges(stored.tensor)
            covered = ranges[:0]
            for others, names in self._by_storage.get(stored.storage, []):
                near = others[0, 0] < ranges[-1, 1] and ranges[0, 0] < others[-1, 1]
                if near and count_bytes(merge(others, ranges)) < count_bytes(others) + count_bytes(ranges):
                    group = names if group is None else group
                    covered = merge(covered, others)
            uncovered = count_bytes(merge(covered, ranges)) - count_bytes(covered)
            own = uncovered // stored.tensor.element_size() * stored.numel // stored.tensor.numel()
        if group is None:
            kind = "lazy" if stored.shape is None else "quantized" if stored.is_quantized else "owned"
            self.groups.append(group := [])
        else:
            kind = "view"
        self._append(group, registered, kind, own)
        if ranges is not None:
            self._by_storage.setdefault(stored.storage, []).append((ranges, group))
        return group

    @staticmethod
    def _append(group: list[Name], registered: _Registered, kind: str, own: int) -> None:
        stored = registered.stored
        name, numel = registered.name, stored.numel
        group.append(Name(name, registered.module_name, registered.module, stored, numel, kind, own))


def _sort_sources_first(modules: Sequence[tuple[str, Module]]) -> list[_Registered]:
    """Return every registered parameter; the aliases of declared ties come last."""
    by_name = dict(modules)

    def place(name: str) -> tuple[int, str]:
        path, _, attribute = name.rpartition(".")
        return id(by_name.get(path)), attribute

    aliases = {
        place(join_names(prefix, alias)) for prefix, holder in modules for alias in get_declared_ties(holder)
    }

    def is_alias(registered: _Registered) -> bool:
        name = registered.name
        return place(name) in aliases or place(get_original_name(name)) in aliases

    shards = find_shards(module for _, module in modules)
    found = [
        _Registered(module_name, module, stored)
        for module_name, module in modules
        for stored in iter_parameters(module, shards.get(id(module)))
    ]
    return sorted(found, key=is_alias)


def _find_source(reference: Reference) -> Tensor | None:
    """Return the parameter that a reference reads, or its largest part if it is parametrized."""
    module, name = reference.module, reference.name
    parameter = module._parameters.get(name)
    parametrizations = getattr(module, "parametrizations", {})
    if parameter is None and name in parametrizations:
        parts = parametrizations[name]._parameters.values()
        parameter = max(parts, key=Tensor.numel, default=None)
    if parameter is None:  # pruned, or normalized by the older hooks instead of a parametrization
        stored = (module._parameters.get(f"{name}{suffix}") for suffix in ("_orig", "_v"))
        parameter = next((p for p in stored if p is not None), None)
    return parameter
