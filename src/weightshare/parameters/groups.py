"""The parameters of a model in groups: each element has one owner, and may have any number of other names."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field

from torch import Tensor
from torch.nn import Module
from torch.nn.parameter import is_lazy

from .modules import get_original_name, iter_parameters, join_names
from .references import Reference, get_chain, get_declared_ties, get_references
from .storage import Ranges, count_bytes, get_byte_ranges, get_storage_key, is_quantized, merge, nbytes


@dataclass(frozen=True)
class Name:
    """One name under which a parameter is registered or read.

    Args:
        name: Full name, as in `model.named_parameters()`.
        module_name: Name of its module, as in `model.named_modules()`.
        parameter: The parameter; None for a reference.
        numel: Number of elements, 0 while the parameter is lazy.
        kind: "owned", "alias" (the same Parameter), "view" (another Parameter in the same storage),
            "reference", "repeated" (the same module under another name), "lazy" or "quantized".
        own: Number of elements that no earlier name has.
        transform: Transform of a reference.
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
        """Name of the parameter in its module."""
        return self.name.rpartition(".")[2]


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
            nbytes(name.parameter) * name.own // max(1, name.numel)
            for name in self.names
            if name.parameter is not None
        )

    @property
    def trainable(self) -> bool:
        """Whether any of the parameters requires gradients."""
        return any(name.parameter is not None and name.parameter.requires_grad for name in self.names)


@dataclass(frozen=True)
class _Registered:
    """A parameter as one module registers it; `key` identifies the parameter."""

    module_name: str
    module: Module
    attribute: str
    parameter: Tensor
    key: Hashable

    @property
    def name(self) -> str:
        return join_names(self.module_name, self.attribute)


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
        place = (id(registered.module), registered.attribute)
        again = place in self._seen
        self._seen.add(place)
        if registered.key in self._by_key:
            self._append(self._by_key[registered.key], registered, "repeated" if again else "alias", 0)
        else:
            self._by_key[registered.key] = self._add_new(registered)

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
        parameter = registered.parameter
        storage, ranges, group = get_storage_key(parameter), None, None
        if storage is None:
            own = 0 if is_lazy(parameter) else parameter.numel()
        else:
            ranges = get_byte_ranges(parameter)
            covered = ranges[:0]
            for others, names in self._by_storage.get(storage, []):
                near = others[0, 0] < ranges[-1, 1] and ranges[0, 0] < others[-1, 1]
                if near and count_bytes(merge(others, ranges)) < count_bytes(others) + count_bytes(ranges):
                    group = names if group is None else group
                    covered = merge(covered, others)
            own = (count_bytes(merge(covered, ranges)) - count_bytes(covered)) // parameter.element_size()
        if group is None:
            kind = "lazy" if is_lazy(parameter) else "quantized" if is_quantized(parameter) else "owned"
            self.groups.append(group := [])
        else:
            kind = "view"
        self._append(group, registered, kind, own)
        if ranges is not None:
            self._by_storage.setdefault(storage, []).append((ranges, group))
        return group

    @staticmethod
    def _append(group: list[Name], registered: _Registered, kind: str, own: int) -> None:
        parameter = registered.parameter
        numel = 0 if is_lazy(parameter) else parameter.numel()
        group.append(
            Name(registered.name, registered.module_name, registered.module, parameter, numel, kind, own)
        )


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

    found = [
        _Registered(module_name, module, *parameter)
        for module_name, module in modules
        for parameter in iter_parameters(module)
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
