"""Modules that read a parameter from another module instead of having one.

The attribute becomes a property of a subclass made for it, so that `forward` and `isinstance` go on as
before, while parameters, state dicts and optimisers see the source alone. What it reads is worked out at each
use: a source that is moved, cast, sharded or replaced is followed.
"""

from functools import partial
from typing import Any
from weakref import WeakValueDictionary

from torch import Tensor
from torch.nn import Module

from ..accounting.ledger import REFERENCES, Reference, chain_of
from ..errors import TieError
from .tie import transformed

#: The subclasses in use, by the class that each is of and the names that it reads.
_classes: WeakValueDictionary[tuple[type, tuple[str, ...]], type] = WeakValueDictionary()


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


def _reading(base: type, names: tuple[str, ...]) -> type:
    """A subclass whose attributes of these names are read from elsewhere."""
    if (made := _classes.get((base, names))) is not None:
        return made
    members: dict[str, Any] = {name: property(_Reader(name), partial(_refuse, name=name)) for name in names}
    members |= {"_plain_class": base, "__module__": base.__module__, "__qualname__": base.__qualname__}
    members |= {"__reduce_ex__": _reduced, "register_parameter": _register, "__doc__": base.__doc__}
    return _classes.setdefault((base, names), type(base.__name__, (base,), members))


class _Reader:
    """The getter of one attribute."""

    def __init__(self, name: str):
        self.name = name

    def __call__(self, module: Module) -> Tensor:
        way = chain_of(vars(module)[REFERENCES][self.name])
        value = getattr(way[-1].module, way[-1].name)
        for reference in reversed(way):
            value = transformed(reference.transform, value, reference.shape)
        return value


def _refuse(module: Module, value: Any, name: str) -> None:
    """The setter of one attribute, by assignment or in `torch.func.functional_call`."""
    reference = vars(module)[REFERENCES][name]
    source = type(reference.module).__name__
    raise TieError(
        f"{type(module).__name__}.{name}",
        f"must not be set, since it is read from the {reference.name} of another module ({source})",
        f"a {type(value).__name__}",
        "set that one, or untie_weights first",
    )


def _register(module: Any, name: str, param: Any) -> None:
    """Torch assigns a Parameter by this."""
    if name in vars(module)[REFERENCES]:
        _refuse(module, param, name)
    plain_class(module).register_parameter(module, name, param)  # type: ignore[attr-defined]


def _reduced(module: Module, protocol: Any) -> tuple:
    """Copied and pickled as the class it was made from, which can be imported, has itself copied."""
    own, base, names = type(module), plain_class(module), tuple(sorted(vars(module)[REFERENCES]))
    make, arguments, *rest = base.__reduce_ex__(module, protocol)  # type: ignore[arg-type]
    make, *arguments = (base if part is own else part for part in (make, *arguments))
    state = rest[0] if rest and rest[0] is not None else {}
    if isinstance(state, dict):
        state = {**state, REFERENCES: vars(module)[REFERENCES]}
    return _rebuilt, (make, tuple(arguments), names), state, *rest[1:]


def _rebuilt(make: Any, arguments: tuple, names: tuple[str, ...]) -> Module:
    module = make(*arguments)
    for name in names:  # of a class that is made anew by its arguments
        vars(module).get("_parameters", {}).pop(name, None)
    module.__class__ = _reading(type(module), names)
    return module
