"""Parameters by name: finding the module that has one, and the nearest module that holds two."""

from collections.abc import Iterator

from torch.nn import Module

from .._args import did_you_mean
from ..errors import ArgumentError
from ..parameters.groups import REFERENCES

#: A parameter, whatever names it has: its module's identity and its name there.
Place = tuple[int, str]


def owner_of(model: Module, name: str, where: str) -> tuple[Module, str]:
    """The module that has, or reads, a parameter, and the parameter's name in it.

    Raises:
        ArgumentError: no parameter of this name, with the nearest ones.
    """
    found = find_owner(model, name)
    if found is not None:
        return found
    hint = did_you_mean(name, all_names(model), "list the names with model.named_parameters()")
    raise ArgumentError(where, "names must be names of parameters", repr(name), hint)


def find_owner(model: Module, name: str) -> tuple[Module, str] | None:
    """As `owner_of`; None where there is no such parameter."""
    path, _, attribute = str(name).rpartition(".")
    module = module_at(model, path)
    if module is None:
        return None
    has = module._parameters.get(attribute) is not None
    return (module, attribute) if has or attribute in vars(module).get(REFERENCES, {}) else None


def both_ends(model: Module, alias: str, source: str) -> tuple[tuple[Module, str], tuple[Module, str]] | None:
    """The owners of both parameters; None where either is no parameter (any more)."""
    first, second = find_owner(model, alias), find_owner(model, source)
    return None if first is None or second is None else (first, second)


def module_at(model: Module, path: str) -> Module | None:
    """The module of a path; None where there is none."""
    try:
        return model.get_submodule(path)
    except AttributeError:
        return None


def place_of(model: Module, name: str) -> Place:
    """What all names of a parameter have in common, whether it is there or not."""
    path, _, attribute = name.rpartition(".")
    module = module_at(model, path)
    return (0, name) if module is None else (id(module), attribute)


def all_names(model: Module) -> Iterator[str]:
    """Of every parameter and reference, under each of its names."""
    for prefix, module in model.named_modules(remove_duplicate=False):
        for attribute in (*module._parameters, *vars(module).get(REFERENCES, {})):
            yield f"{prefix}.{attribute}" if prefix else attribute


def common_path(first: str, second: str) -> str:
    """The path of the nearest module that holds both parameters.

    >>> common_path("decoder.head.weight", "decoder.emb.weight"), common_path("a.weight", "b.weight")
    ('decoder', '')
    """
    shared = []
    for a, b in zip(first.split(".")[:-1], second.split(".")[:-1]):
        if a != b:
            break
        shared.append(a)
    return ".".join(shared)


def below(path: str, name: str) -> str:
    """A name as the module at `path` has it.

    >>> below("decoder", "decoder.head.weight"), below("", "head.weight")
    ('head.weight', 'head.weight')
    """
    return name[len(path) + 1 :] if path else name
