"""Parameters by name: the module that owns a parameter, and the nearest module that contains two of them."""

from collections.abc import Iterator

from torch import nn

from .._args import did_you_mean
from ..errors import ArgumentError
from ..parameters.modules import join_names
from ..parameters.references import find_module, find_parameter, get_references

#: Identity of a parameter, whatever names it has: the `id` of its module, and its name in the module.
Place = tuple[int, str]


def get_owner(model: nn.Module, name: str, where: str) -> tuple[nn.Module, str]:
    """Return the module that has or reads a parameter, and the parameter's name in that module.

    Args:
        where: Function to name in the error.

    Raises:
        ArgumentError: If there is no parameter of this name. The error lists similar names.
    """
    found = find_owner(model, name)
    if found is not None:
        return found
    hint = did_you_mean(name, iter_names(model), "list the names with model.named_parameters()")
    raise ArgumentError(where, "names must be parameter names", repr(name), hint)


def find_owner(model: nn.Module, name: str) -> tuple[nn.Module, str] | None:
    """Return the same as `get_owner`, or None if there is no such parameter."""
    path, _, attribute = str(name).rpartition(".")
    module = find_module(model, path)
    if module is None:
        return None
    exists = find_parameter(module, attribute) is not None or attribute in get_references(module)
    return (module, attribute) if exists else None


def find_ends(
    model: nn.Module, alias: str, source: str
) -> tuple[tuple[nn.Module, str], tuple[nn.Module, str]] | None:
    """Return the owners of alias and source, or None if either is not a parameter (any more)."""
    first, second = find_owner(model, alias), find_owner(model, source)
    return None if first is None or second is None else (first, second)


def get_place(model: nn.Module, name: str) -> Place:
    """Return the same key for all names of a parameter, whether or not the parameter exists."""
    path, _, attribute = name.rpartition(".")
    module = find_module(model, path)
    return (0, name) if module is None else (id(module), attribute)


def get_common_path(first: str, second: str) -> str:
    """Return the path of the nearest module that contains both parameters.

    >>> get_common_path("decoder.head.weight", "decoder.emb.weight"), get_common_path("a.weight", "b.weight")
    ('decoder', '')
    """
    shared: list[str] = []
    for a, b in zip(first.split(".")[:-1], second.split(".")[:-1]):
        if a != b:
            break
        shared.append(a)
    return ".".join(shared)


def make_relative(name: str, path: str) -> str:
    """Return a name relative to the module at `path`.

    >>> make_relative("decoder.head.weight", "decoder"), make_relative("head.weight", "")
    ('head.weight', 'head.weight')
    """
    return name[len(path) + 1 :] if path else name


def iter_names(model: nn.Module) -> Iterator[str]:
    """Yield every name of every parameter and reference."""
    for prefix, module in model.named_modules(remove_duplicate=False):
        registered = [attribute for attribute, value in module._parameters.items() if value is not None]
        for attribute in (*registered, *get_references(module)):
            yield join_names(prefix, attribute)
