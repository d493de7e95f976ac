"""Derived parameters: attributes that a module reads from a parameter of another module at each use.

The attribute becomes a property of a subclass made for this purpose. `forward` and `isinstance` work as
before, while parameters, state dicts and optimizers contain only the source. Because the value is read at
each use, it follows a source that is moved, cast, sharded or replaced.
"""

from functools import partial
from typing import Any
from weakref import WeakValueDictionary

from torch import Tensor
from torch.nn import Module
from torch.nn.utils import parametrize

from ..errors import TieError
from ..parameters.references import REFERENCES, Reference, get_chain, get_reference, get_references
from .tie import apply_transform

#: Subclasses in use, by their base class and the names of their derived parameters.
_classes: WeakValueDictionary[tuple[type, tuple[str, ...]], type] = WeakValueDictionary()


def read_from(module: Any, name: str, source: Module, source_name: str, transform: str | None) -> None:
    """Make `module.name` read `source.source_name`, and drop the module's own Parameter of that name."""
    references = get_references(module)
    names = tuple(sorted({*references, name}))
    cls = type(module) if name in references else make_reading_class(type(module), names)
    shape = tuple(getattr(module, name).shape)
    # new dictionaries, because a shallow copy of the module shares the current ones
    module._parameters = {other: p for other, p in module._parameters.items() if other != name}
    setattr(module, REFERENCES, {**references, name: Reference(source, source_name, transform, shape)})
    module.__class__ = cls


def stop_reading(module: Any, name: str) -> None:
    """Remove the derived parameter; the caller then gives the module its own Parameter."""
    references = {other: reference for other, reference in get_references(module).items() if other != name}
    module.__class__ = make_reading_class(type(module), tuple(sorted(references)))
    setattr(module, REFERENCES, references)


def make_reading_class(cls: type, names: tuple[str, ...]) -> type:
    """Return a class like `cls` whose derived parameters are exactly those in `names`.

    If a parametrization created `cls`, only the base class from which it was created is replaced.

    Raises:
        TieError: If something else, such as `fully_shard`, made `cls` from a class with derived parameters.
    """
    if cls.__module__ == parametrize.__name__:
        members = {
            name: value for name, value in vars(cls).items() if name not in ("__dict__", "__weakref__")
        }
        return type(cls.__name__, (make_reading_class(cls.__bases__[0], names),), members)
    if "_plain_class" not in vars(cls) and hasattr(cls, "_plain_class"):
        raise TieError(
            cls.__name__,
            "the ties of a module must not change after its class was replaced",
            "a class created from the class of the tied module",
            "change the ties before calling fully_shard",
        )
    base = vars(cls).get("_plain_class", cls)
    return _get_subclass(base, names) if names else base


def get_plain_class(module: Module) -> type[Module]:
    """Return the class from which a class with derived parameters was made."""
    return getattr(type(module), "_plain_class", type(module))


def _get_subclass(base: type, names: tuple[str, ...]) -> type:
    """Return the subclass of `base` with these derived parameters."""
    if (existing := _classes.get((base, names))) is not None:
        return existing
    members: dict[str, Any] = {
        name: property(_Reader(name), partial(_refuse_assignment, name=name), partial(_refuse_del, name=name))
        for name in names
    }
    members |= {"_plain_class": base, "__module__": base.__module__, "__qualname__": base.__qualname__}
    members |= {"__reduce_ex__": _reduce, "register_parameter": _register_parameter, "__doc__": base.__doc__}
    return _classes.setdefault((base, names), type(base.__name__, (base,), members))


class _Reader:
    """The function that reads one derived parameter when its property is accessed."""

    def __init__(self, name: str):
        self.name = name

    def __call__(self, module: Module) -> Tensor:
        reference = get_reference(module, self.name)
        if reference is None:  # an instance of the class that another library created
            return Module.__getattr__(module, self.name)  # pyright: ignore[reportReturnType]
        chain = get_chain(reference)
        try:
            value = getattr(chain[-1].module, chain[-1].name)
        except AttributeError as error:  # otherwise Module would report that the alias is missing
            hint = "give that module its parameter again, or replace this module"
            raise _make_error(module, self.name, chain[-1], "must have a source", "none", hint) from error
        for reference in reversed(chain):
            value = apply_transform(reference.transform, value, reference.shape)
        return value


def _refuse_assignment(module: Module, value: Any, name: str) -> None:
    """Raise an error if the attribute is set, by assignment or in `torch.func.functional_call`."""
    reference, got = get_references(module)[name], f"a {type(value).__name__}"
    hint = "assign to the source, or call untie_weights first"
    raise _make_error(module, name, reference, "must not be assigned", got, hint)


def _refuse_del(module: Module, name: str) -> None:
    """Raise an error if the attribute is deleted."""
    reference = get_references(module)[name]
    raise _make_error(module, name, reference, "must not be deleted", "del", "call untie_weights first")


def _make_error(
    module: Module, name: str, reference: Reference, expected: str, got: str, hint: str
) -> TieError:
    source = type(reference.module).__name__
    expected += f", because it is read from the {reference.name} of another module ({source})"
    return TieError(f"{type(module).__name__}.{name}", expected, got, hint)


def _register_parameter(module: Any, name: str, param: Any) -> None:
    """Refuse to register a Parameter in place of a reference.

    Torch calls this when a Parameter is assigned. Pruning calls it first, with the suffix "_orig".
    """
    references = get_references(module)
    if name in references:
        _refuse_assignment(module, param, name)
    pruned = name.removesuffix("_orig")
    if pruned != name and pruned in references:
        hint = "prune the source, or call untie_weights first"
        raise _make_error(module, pruned, references[pruned], "must not be pruned", "pruning", hint)
    get_plain_class(module).register_parameter(module, name, param)


def _reduce(module: Module, protocol: Any) -> tuple[Any, ...]:
    """Return what copy and pickle need: the plain class, which can be imported, and the references."""
    cls, base, references = type(module), get_plain_class(module), get_references(module)
    make, arguments, *rest = base.__reduce_ex__(module, protocol)
    make, *arguments = (base if part is cls else part for part in (make, *arguments))
    state = rest[0] if rest and rest[0] is not None else {}
    if isinstance(state, dict):
        state = {**state, REFERENCES: references}
    return _rebuild, (make, tuple(arguments), tuple(sorted(references))), state, *rest[1:]


def _rebuild(make: Any, arguments: tuple[Any, ...], names: tuple[str, ...]) -> Module:
    """Return a copied or unpickled module with derived parameters."""
    module = make(*arguments)
    for name in names:  # a constructor called with its arguments creates these Parameters again
        vars(module).get("_parameters", {}).pop(name, None)
    module.__class__ = make_reading_class(type(module), names)
    return module
