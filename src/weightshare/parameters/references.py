"""References: parameters that a module reads from another module, and where a module records its ties."""

from dataclasses import dataclass
from typing import Any

from torch import nn

#: Attribute in which a module keeps the parameters that it reads from other modules, by name.
REFERENCES = "_tied_references"
#: Attribute in which a module keeps the ties declared on it, by alias (relative to the module).
DECLARED = "_declared_ties"


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


def get_references(module: nn.Module) -> dict[str, Reference]:
    """Return the parameters that a module reads from other modules, by name."""
    return vars(module).get(REFERENCES, {})


def get_declared_ties(module: nn.Module) -> dict[str, Any]:
    """Return the ties declared on a module, by alias; names are relative to the module."""
    return vars(module).get(DECLARED, {})


def get_chain(reference: Reference) -> list[Reference]:
    """Return the chain of references from a reference to the one that reads a parameter."""
    chain = [reference]
    while (following := get_references(chain[-1].module).get(chain[-1].name)) is not None:
        chain.append(following)
    return chain


def get_reference(module: nn.Module, name: str) -> Reference | None:
    """Return the reference that a module reads under a name, or None if it has no such reference."""
    return get_references(module).get(name)
