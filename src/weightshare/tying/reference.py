"""Modules that read a parameter from another module instead of having one.

The attribute becomes a property of a subclass made for it, so that `forward` and `isinstance` go on as
before, while parameters, state dicts and optimisers see the source alone. What it reads is worked out at each
use: a source that is moved, cast, sharded or replaced is followed.
"""

from functools import cache
from typing import Any

from torch import Tensor
from torch.nn import Module

from ..accounting.ledger import REFERENCES, Reference
from .tie import transformed


def refer(module: Any, name: str, source: Module, source_name: str, transform: str | None) -> None:
    """Have `module.name` read `source.source_name`; a Parameter of that name is given up."""
    shape = tuple(getattr(module, name).shape)
    module._parameters.pop(name, None)
    held = vars(module).setdefault(REFERENCES, {})
    held[name] = Reference(source, source_name, transform, shape)
    module.__class__ = _reading(plain_class(module), tuple(sorted(held)))


def stop_referring(module: Any, name: str) -> None:
    """Take the property away; the caller gives the module a Parameter of its own."""
    held = vars(module)[REFERENCES]
    del held[name]
    base = plain_class(module)
    module.__class__ = _reading(base, tuple(sorted(held))) if held else base


def reference_of(module: Module, name: str) -> Reference | None:
    """What a module reads under a name; None where it has it itself."""
    return vars(module).get(REFERENCES, {}).get(name)


def plain_class(module: Module) -> type:
    """The class of a module without its references."""
    return getattr(type(module), "_plain_class", type(module))


@cache
def _reading(base: type, names: tuple[str, ...]) -> type:
    """A subclass whose attributes of these names are read from elsewhere."""
    members: dict[str, Any] = {name: property(_Reader(name)) for name in names}
    members |= {"_plain_class": base, "__module__": base.__module__, "__qualname__": base.__qualname__}
    members |= {"__reduce_ex__": _reduced, "__doc__": base.__doc__}
    return type(base.__name__, (base,), members)


class _Reader:
    """The getter of one attribute."""

    def __init__(self, name: str):
        self.name = name

    def __call__(self, module: Module) -> Tensor:
        reference = vars(module)[REFERENCES][self.name]
        value = getattr(reference.module, reference.name)
        return transformed(reference.transform, value, reference.shape)


def _reduced(module: Module, protocol: Any) -> tuple:
    """Copied and pickled by the class it was made from, which can be imported."""
    names = tuple(sorted(vars(module)[REFERENCES]))
    return _rebuilt, (plain_class(module), names), vars(module).copy()


def _rebuilt(base: type, names: tuple[str, ...]) -> Module:
    cls = _reading(base, names)
    return cls.__new__(cls)  # type: ignore[call-overload]
