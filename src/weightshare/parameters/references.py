"""References: parameters that a module reads from another module, and where a module records its ties."""

import copy
import weakref
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from torch import nn

from .modules import join_names

#: Attribute in which a module keeps the parameters that it reads from other modules, by name.
REFERENCES = "_tied_references"
#: Attribute in which a module keeps the ties declared on it.
DECLARED = "_declared_ties"
#: Attribute of a Parameter that a declared tie made the one at both ends.
_TIED = "_is_tied"


@dataclass(frozen=True)
class Reference:
    """A parameter that a module reads from another module instead of storing it.

    Args:
        module: Module that stores the parameter, or reads it from yet another module.
        name: Name of the parameter in that module.
        transform: Transform applied when reading, as text; None if the parameter is used unchanged.
        shape: Shape of the result.
    """

    module: nn.Module
    name: str
    transform: str | None = None
    shape: tuple[int, ...] = ()


class ModuleLink:
    """A weak reference to a module that is copied and pickled with the module.

    It is weak so that a module is freed after its removal from the model.
    """

    def __init__(self, module: nn.Module | None):
        self._reference = None if module is None else weakref.ref(module)

    @property
    def module(self) -> nn.Module | None:
        """The module, or None if it no longer exists."""
        return None if self._reference is None else self._reference()

    def __deepcopy__(self, memo: dict[int, Any]) -> "ModuleLink":
        return ModuleLink(copy.deepcopy(self.module, memo))

    def __reduce__(self) -> tuple[Any, ...]:
        return ModuleLink, (self.module,)


class ModuleNames:
    """The current names of the modules in a model."""

    def __init__(self, model: nn.Module):
        self.model = model

    def find(self, module: nn.Module | None, expected: str) -> str | None:
        """Return the name of a module, which is `expected` if it has several; None if it is elsewhere."""
        if module is None or find_module(self.model, expected) is module:
            return None if module is None else expected
        return self._by_module.get(id(module))

    @cached_property
    def _by_module(self) -> dict[int, str]:
        return {id(module): name for name, module in self.model.named_modules()}


@dataclass(frozen=True)
class DeclaredTie:
    """A tie as recorded on a module that contains both ends. It follows the modules, not their names.

    Args:
        alias: Name of the alias when the tie was declared, relative to the module that records it.
        source: Name of the source, likewise.
        transform: Transform from the source to the alias.
        modules: Links to the modules of alias and source.
    """

    alias: str
    source: str
    transform: str | None
    modules: tuple[ModuleLink, ModuleLink] = field(compare=False)

    def __deepcopy__(self, memo: dict[int, Any]) -> "DeclaredTie":
        for name, link in zip((self.alias, self.source), self.modules):
            attribute = name.rpartition(".")[2]
            own = link.module and find_parameter(link.module, attribute)
            if own is None or not is_marked(own):
                continue
            module = memo.get(id(link.module))
            if isinstance(module, nn.Module) and "_parameters" in vars(module):  # its copy is complete
                copied = find_parameter(module, attribute)
            else:
                copied = copy.deepcopy(own, memo)
            if copied is not None:
                mark_tied(copied)  # copies of Parameters lose their attributes
        return replace(self, modules=copy.deepcopy(self.modules, memo))

    def locate(self, names: ModuleNames, prefix: str = "") -> tuple["DeclaredTie", bool]:
        """Return the tie with its current names, and whether they are known to be those of its ends.

        A module that is no longer in the model keeps the name that it had. This name is known to be that of
        the end only if the parameter there is tied.

        Args:
            names: Names in the model from which the new names start.
            prefix: Name of the module that records the tie.
        """
        found: list[str | None] = []
        current: list[str] = []
        for name, link in zip((self.alias, self.source), self.modules):
            path, _, attribute = name.rpartition(".")
            expected = join_names(prefix, path) if path else prefix
            found.append(names.find(link.module, expected))
            current.append(join_names(expected if found[-1] is None else found[-1], attribute))
        tie = replace(self, alias=current[0], source=current[1])
        return tie, None not in found or _is_linked(names.model, *current)


def find_module(model: nn.Module, path: str) -> nn.Module | None:
    """Return the module at a path, or None if there is none. The model may be scripted."""
    module: Any = model
    for name in path.split(".") if path else ():
        module = getattr(module, name, None)
        if not isinstance(module, nn.Module):
            return None
    return module


def find_parameter(module: nn.Module, name: str) -> nn.Parameter | None:
    """Return a parameter that a module registers, or None if it does not. The module may be scripted."""
    parameters = module._parameters
    return parameters[name] if name in parameters else None  # noqa: SIM401


def mark_tied(parameter: nn.Parameter) -> None:
    """Mark a Parameter as the one at both ends of a declared tie."""
    setattr(parameter, _TIED, True)


def is_marked(parameter: nn.Parameter) -> bool:
    """Return whether a Parameter was the one at both ends of a declared tie.

    Operations such as `to_empty()` replace Parameters by ones without this mark.
    """
    return hasattr(parameter, _TIED)


def get_references(module: nn.Module) -> dict[str, Reference]:
    """Return the parameters that a module reads from other modules, by name."""
    return vars(module).get(REFERENCES, {})


def get_records(module: nn.Module) -> tuple[DeclaredTie, ...]:
    """Return the ties declared on a module, under the names that their ends had then."""
    return vars(module).get(DECLARED, ())


def get_declared_ties(module: nn.Module) -> dict[str, DeclaredTie]:
    """Return the ties declared on a module, by alias; names are current, and relative to the module.

    Ties with an end that was removed or replaced are left out.
    """
    names = ModuleNames(module)
    located = [record.locate(names) for record in get_records(module)]
    return {tie.alias: tie for tie, is_known in located if is_known}


def get_chain(reference: Reference) -> list[Reference]:
    """Return the chain of references from a reference to the one that reads a parameter."""
    chain = [reference]
    while (following := get_references(chain[-1].module).get(chain[-1].name)) is not None:
        chain.append(following)
    return chain


def get_reference(module: nn.Module, name: str) -> Reference | None:
    """Return the reference that a module reads under a name, or None if it has no such reference."""
    return get_references(module).get(name)


def _is_linked(model: nn.Module, alias: str, source: str) -> bool:
    """Return whether two names are those of one Parameter in two places, or of a reference and its source."""
    path, _, attribute = alias.rpartition(".")
    source_path, _, source_attribute = source.rpartition(".")
    module, source_module = find_module(model, path), find_module(model, source_path)
    if module is None or source_module is None or (module, attribute) == (source_module, source_attribute):
        return False
    reference = get_reference(module, attribute)
    if reference is not None:
        return (reference.module, reference.name) == (source_module, source_attribute)
    own = find_parameter(module, attribute)
    return own is not None and own is find_parameter(source_module, source_attribute)
