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
from torch.nn.utils import parametrize

from ..errors import TieError
from ..parameters.groups import REFERENCES, Reference, chain_of
from .tie import transformed

#: The subclasses in use, by the class that each is of and the names that it reads.
_classes: WeakValueDictionary[tuple[type, tuple[str, ...]], type] = WeakValueDictionary()


def refer(module: Any, name: str, source: Module, source_name: str, transform: str | None) -> None:
    """Have `module.name` read `source.source_name`; a Parameter of that name is given up."""
    held = vars(module).get(REFERENCES, {})
    own = type(module) if name in held else class_reading(type(module), tuple(sorted({*held, name})))
    shape = tuple(getattr(module, name).shape)
    # not in place: a shallow copy has the same dicts
    module._parameters = {other: p for other, p in module._parameters.items() if other != name}
    held = {**held, name: Reference(source, source_name, transform, shape)}
    setattr(module, REFERENCES, held)
    module.__class__ = own


def stop_referring(module: Any, name: str) -> None:
    """Take the property away; the caller gives the module a Parameter of its own."""
    held = {other: reference for other, reference in vars(module)[REFERENCES].items() if other != name}
    module.__class__ = class_reading(type(module), tuple(sorted(held)))
    setattr(module, REFERENCES, held)


def reference_of(module: Module, name: str) -> Reference | None:
    """What a module reads under a name; None where it has it itself."""
    return vars(module).get(REFERENCES, {}).get(name)


def class_reading(own: type, names: tuple[str, ...]) -> type:
    """A class as another, whose attributes of these names, and no others, are read from elsewhere.

    What a parametrization has made of a module's class is made of the new one instead.

    Raises:
        TieError: something else, as `fully_shard`, has made a class of one with references.
    """
    if own.__module__ == parametrize.__name__:
        members = {
            name: value for name, value in vars(own).items() if name not in ("__dict__", "__weakref__")
        }
        return type(own.__name__, (class_reading(own.__bases__[0], names),), members)
    if "_plain_class" not in vars(own) and hasattr(own, "_plain_class"):
        raise TieError(
            own.__name__,
            "what a module reads must be settled before its class is changed",
            "a class made since",
            "change the ties before fully_shard",
        )
    base = vars(own).get("_plain_class", own)
    return _reading(base, names) if names else base


def _plain_class(module: Module) -> type:
    """The class that the one with references was made of."""
    return getattr(type(module), "_plain_class", type(module))


def _reading(base: type, names: tuple[str, ...]) -> type:
    """A subclass whose attributes of these names are read from elsewhere."""
    if (made := _classes.get((base, names))) is not None:
        return made
    members: dict[str, Any] = {
        name: property(_Reader(name), partial(_refuse, name=name), partial(_keep, name=name))
        for name in names
    }
    members |= {"_plain_class": base, "__module__": base.__module__, "__qualname__": base.__qualname__}
    members |= {"__reduce_ex__": _reduced, "register_parameter": _register, "__doc__": base.__doc__}
    return _classes.setdefault((base, names), type(base.__name__, (base,), members))


class _Reader:
    """The getter of one attribute."""

    def __init__(self, name: str):
        self.name = name

    def __call__(self, module: Module) -> Tensor:
        reference = reference_of(module, self.name)
        if reference is None:  # an instance that another library has made of the class
            return Module.__getattr__(module, self.name)  # type: ignore[return-value]
        way = chain_of(reference)
        try:
            value = getattr(way[-1].module, way[-1].name)
        except AttributeError as error:  # of which Module would make that the alias is missing
            hint = "give that module one, or put a new module in this one's place"
            raise _error(module, self.name, way[-1], "must have a source", "none", hint) from error
        for reference in reversed(way):
            value = transformed(reference.transform, value, reference.shape)
        return value


def _refuse(module: Module, value: Any, name: str) -> None:
    """The setter of one attribute, by assignment or in `torch.func.functional_call`."""
    reference, got = vars(module)[REFERENCES][name], f"a {type(value).__name__}"
    raise _error(module, name, reference, "must not be set", got, "set that one, or untie_weights first")


def _keep(module: Module, name: str) -> None:
    """The deleter of one attribute."""
    reference = vars(module)[REFERENCES][name]
    raise _error(module, name, reference, "must not be deleted", "del", "untie_weights first")


def _error(module: Module, name: str, reference: Reference, expected: str, got: str, hint: str) -> TieError:
    source = type(reference.module).__name__
    expected += f", since it is read from the {reference.name} of another module ({source})"
    return TieError(f"{type(module).__name__}.{name}", expected, got, hint)


def _register(module: Any, name: str, param: Any) -> None:
    """Torch assigns a Parameter by this; pruning begins by it, under another name."""
    held = vars(module).get(REFERENCES, {})
    if name in held:
        _refuse(module, param, name)
    pruned = name.removesuffix("_orig")
    if pruned != name and pruned in held:
        hint = "prune that one, or untie_weights first"
        raise _error(module, pruned, held[pruned], "must not be pruned", "pruning", hint)
    _plain_class(module).register_parameter(module, name, param)  # type: ignore[attr-defined]


def _reduced(module: Module, protocol: Any) -> tuple:
    """Copied and pickled as the class it was made from, which can be imported, has itself copied."""
    own, base, held = type(module), _plain_class(module), vars(module).get(REFERENCES, {})
    make, arguments, *rest = base.__reduce_ex__(module, protocol)  # type: ignore[arg-type]
    make, *arguments = (base if part is own else part for part in (make, *arguments))
    state = rest[0] if rest and rest[0] is not None else {}
    if isinstance(state, dict):
        state = {**state, REFERENCES: held}
    return _rebuilt, (make, tuple(arguments), tuple(sorted(held))), state, *rest[1:]


def _rebuilt(make: Any, arguments: tuple, names: tuple[str, ...]) -> Module:
    module = make(*arguments)
    for name in names:  # of a class that is made anew by its arguments
        vars(module).get("_parameters", {}).pop(name, None)
    module.__class__ = class_reading(type(module), names)
    return module
